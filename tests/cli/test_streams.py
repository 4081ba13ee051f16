"""Standard input and output, runs that continue, odd names, and an early Ctrl-C."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from srgan.cli.upscale import upscale
from srgan.engines.options import EngineOptions
from srgan.pictures.options import ResultOptions
from srgan.upscaling import batch
from tests.support.command import Command


def pipe(folder: Path, *arguments: object, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "srgan.cli", "upscale", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, input=data, capture_output=True, check=False)


@pytest.fixture
def expected(srgan: Command, photo: Path, small_model: Path) -> bytes:
    """The PNG that the command writes into a file."""
    done = srgan("upscale", photo, "-o", "expected.png", "--model", small_model)
    assert done.returncode == 0, done.stderr
    return photo.with_name("expected.png").read_bytes()


@pytest.mark.parametrize("names", [("-", "-"), ("/dev/stdin", "/dev/stdout"), (None, "-")])
def test_a_pipe(
    photo: Path, small_model: Path, expected: bytes, names: tuple[str | None, str]
) -> None:
    """The picture has the bytes of the file, and nothing else is on standard output."""
    source = names[0] or photo.name
    arguments = (source, "-o", names[1], "--format", "png", "--model", small_model)
    done = pipe(photo.parent, *arguments, data=photo.read_bytes())
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected
    assert b"120x96 -> 480x384" in done.stderr


def test_the_format_of_a_pipe_is_the_pictures(photo: Path, small_model: Path) -> None:
    done = pipe(photo.parent, "-", "-o", "-", "--model", small_model, data=photo.read_bytes())
    assert done.stdout.startswith(b"\xff\xd8\xff")


def test_from_standard_input_into_a_file(photo: Path, small_model: Path, expected: bytes) -> None:
    arguments = ("-", "-o", "new.png", "--model", small_model)
    done = pipe(photo.parent, *arguments, "--json", data=photo.read_bytes())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "done"
    assert photo.with_name("new.png").read_bytes() == expected
    again = pipe(photo.parent, *arguments, data=photo.read_bytes())
    assert again.returncode == 1
    assert b"exists" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("-", "-o", "-"), 1, b"the file is empty"),
        (("-",), 2, b"give -o FILE, or -o -"),
        (("-", "-o", "folder/"), 2, b"give -o FILE, or -o -"),
        (("-", "photo.jpg", "-o", "-"), 2, b"one picture"),
        ((".", "-o", "-"), 2, b"one picture"),
        (("*.jpg", "-o", "-"), 2, b"one picture"),
        (("photo.jpg", "-o", "-", "--json"), 2, b"--json"),
        (("nothing.jpg", "-o", "-"), 1, b"no such file"),
        (("photo.jpg", "-o", "-", "--format", "svg"), 2, b"cannot write this format"),
        (("photo.jpg", "-o", "-", "--format", "gif"), 1, b"cannot write a still picture in this"),
        (("photo.jpg", "--max-pixels", "-1"), 2, b"--max-pixels must be at least 1"),
        (("photo.jpg", "--max-pixels", "0"), 2, b"--max-pixels must be at least 1"),
        (("-dash.png",), 2, b"-dash.png is a file here: write ./-dash.png, or --"),
    ],
)
def test_mistakes(photo: Path, arguments: tuple[str, ...], code: int, message: bytes) -> None:
    photo.with_name("-dash.png").touch()
    done = pipe(photo.parent, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stdout == b""


def test_a_run_continues_after_a_stop(
    srgan: Command, photo: Path, small_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "album").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "album" / name).write_bytes(photo.read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.jpg").write_text("done before")
    arguments = ("upscale", "album", "-o", "out", "--model", small_model, "--skip-existing")
    done = srgan(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "1 of 2 pictures done, 1 skipped: their results exist\n"
    assert (tmp_path / "out/a.jpg").read_text() == "done before"
    with Image.open(tmp_path / "out/b.jpg") as image:
        assert image.size == (480, 384)
    again = srgan(*arguments, "--json")
    assert again.returncode == 0
    assert [json.loads(line)["status"] for line in again.stdout.splitlines()] == 2 * ["skipped"]
    assert srgan(*arguments, "--overwrite").returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_pipe_that_is_cut_short_is_an_error(
    photo: Path, small_model: Path, expected: bytes
) -> None:
    """Also with PYTHONUNBUFFERED, where a write may take a part of the bytes."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(expected) // 2, len(expected) // 2))

    command = [sys.executable, "-m", "srgan.cli", "upscale", photo.name, "-o", "-"]
    with photo.with_name("cut.png").open("wb") as file:
        done = subprocess.run(
            [*command, "--format", "png", "--model", str(small_model)],
            cwd=photo.parent,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=subprocess.PIPE,
            preexec_fn=limit,
            check=False,
        )
    assert photo.with_name("cut.png").stat().st_size == len(expected) // 2
    assert done.returncode == 1
    assert b"File too large" in done.stderr


def test_what_another_process_makes_meanwhile_is_kept(
    photo: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    photo.with_name("z.jpg").write_bytes(photo.read_bytes())
    out = photo.parent / "out"
    run = batch.run

    def beaten(*arguments: Any, **options: Any) -> list[str]:
        for name in (photo.name, "z.jpg"):
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text("by another process")
        return run(*arguments, **options)

    monkeypatch.setattr(batch, "run", beaten)
    names = [str(photo), str(photo.with_name("z.jpg"))]
    code = upscale(
        names,
        output=str(out),
        model=str(small_model),
        result=ResultOptions(),
        engine=EngineOptions(),
        skip_existing=True,
        json=True,
    )
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert code == 0
    assert (first["status"], second["status"]) == ("done", "skipped")
    assert first["notes"] == ["another process has made it meanwhile"]
    assert (out / "z.jpg").read_text() == "by another process"


def test_degrade_continues_after_a_stop(srgan: Command, photo: Path, tmp_path: Path) -> None:
    assert srgan("degrade", ".", "lr").returncode == 0
    again = srgan("degrade", ".", "lr", "--skip-existing")
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == f"{Path('lr', photo.name).with_suffix('.png')}: exists; skipped\n"


def test_ctrl_c_during_the_first_imports(tmp_path: Path) -> None:
    """Whatever is being imported: nothing is printed, and the exit code is 130."""
    script = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

wanted = sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
sys.meta_path.insert(0, Interrupting())
from srgan.cli.app import main
main()
"""
    for module in ("cyclopts", "attrs", "srgan.cli.run", "numpy", "srgan.upscaling.batch"):
        command = [sys.executable, "-c", script, module, "upscale", "nothing.jpg"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", ""), module
