"""Animations through the service: every frame, within the limits on work."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.animations import DURATIONS, FRAMES, SUFFIXES, animated, shown
from tests.support.clips import moving
from tests.support.command import Command
from tests.support.server import TILE, Server, is_problem, running, wait_until

pytestmark = pytest.mark.xdist_group("serve")  # its fixtures are made once

SLOW = "srresnet-x4"
MOST = 200_000  # pixels of a picture, or of all frames


@pytest.fixture(scope="module")
def server(small_model: Path) -> Iterator[Server]:
    models = ("-m", small_model, "-m", SLOW)
    with running("--no-page", *models, *TILE, "--max-pixels", MOST) as server:
        yield server


@pytest.mark.parametrize("format", SUFFIXES)
def test_a_job_keeps_all_frames(
    server: Server, srgan: Command, small_model: Path, tmp_path: Path, format: str
) -> None:
    name, large = f"clip{SUFFIXES[format]}", f"clip_x4{SUFFIXES[format]}"
    (tmp_path / name).write_bytes(animated(format, loop=0))
    assert srgan("upscale", name, "-m", small_model, *TILE).returncode == 0
    pixels = server.figure("srgan_result_pixels_total")
    job = server.post((tmp_path / name).read_bytes(), "/v1/jobs", name=name).headers["location"]
    (status,) = server.wait_for(job)
    assert (status["name"], status["frames"]) == (large, 4)
    assert server.figure("srgan_result_pixels_total") - pixels == 4 * 256 * 192
    result = server.client.get(f"{job}/result")
    assert result.headers["content-type"] == f"image/{format.lower()}"
    frames, durations, plays = shown(result.content)
    expected = (tmp_path / large).read_bytes()
    if format == "AVIF":  # it holds the time of its making
        assert np.array_equal(frames, shown(expected)[0])
    else:
        assert result.content == expected
    assert (durations, plays) == (DURATIONS, None if format == "AVIF" else 0)
    preview = server.client.get(f"{job}/preview?of=result")
    assert preview.headers["content-type"] == result.headers["content-type"]
    assert preview.content == result.content
    server.client.delete(job)


def test_another_format_keeps_them_or_takes_the_first(server: Server) -> None:
    gif = animated("GIF", loop=0)
    frames, durations, plays = shown(server.post(gif, format="webp").content)
    assert (len(frames), durations, plays) == (4, DURATIONS, 0)
    still = server.post(gif, format="jpeg")
    assert "only the first of 4 frames is used" in still.headers["x-srgan-notes"]
    assert len(shown(still.content)[0]) == 1


@pytest.mark.parametrize("format", SUFFIXES)
def test_all_frames_together_are_bounded(server: Server, format: str) -> None:
    frames = moving(MOST // (96 * 128) + 1, (96, 128))
    long = animated(format, frames, duration=40)
    answer = server.post(long, "/v1/jobs")
    assert is_problem(answer, 413, "too-many-pixels")
    assert f"{len(frames)} frames of 128 x 96 are more" in answer.json()["detail"]
    assert len(shown(server.post(long, format="jpeg").content)[0]) == 1
    taken = server.post(animated(format, frames[:-1], duration=40), "/v1/jobs")
    assert taken.status_code == 202
    server.client.delete(taken.headers["location"])


def test_very_many_tiny_frames_are_too_much(server: Server) -> None:
    frames = [np.full((1, 1, 3), k, np.uint8) for k in range(60)]
    assert is_problem(server.post(animated("GIF", frames, duration=40)), 413, "too-many-pixels")


def test_more_frames_than_the_header_says(server: Server) -> None:
    """In an AVIF, by a false table in bytes that decoders skip."""
    content = animated("AVIF", FRAMES * 20, duration=40)
    box = content.index(b"mvhd") - 4
    unused = box + int.from_bytes(content[box : box + 4], "big") - 28
    table = b"stsz" + bytes(8) + (2).to_bytes(4, "big")
    lie = content[:unused] + table + content[unused + len(table) :]
    assert len(shown(lie)[0]) == 80
    assert is_problem(server.post(lie), 422, "damaged-picture")


def test_progress_and_cancelling(server: Server) -> None:
    content = animated("GIF", moving(16, (96, 128)), duration=40)
    location = server.post(content, "/v1/jobs", model=SLOW).headers["location"]
    fractions: list[float] = []

    def is_half_done() -> bool:
        fractions.append(server.client.get(location).json()["progress"])
        return fractions[-1] > 0.4

    wait_until(is_half_done)
    assert fractions == sorted(fractions)
    assert server.client.delete(location).status_code == 204
    wait_until(lambda: server.results() == [])
