import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from srgan.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

from .conftest import Command
from .hub_server import Hub

TOKEN = "hf_secret"


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub(TOKEN)
    yield server
    server.shutdown()
    server.server_close()


def environment(tmp_path: Path, endpoint: str, token: str = TOKEN) -> dict[str, str]:
    return {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",  # the stand-in has the hub's older way to upload
    }


def test_a_pushed_model_is_fetched_and_used(
    tmp_path: Path, hub: Hub, photo: Path, small_checkpoint: Checkpoint, srgan: Command
) -> None:
    info = {"name": "mine", "licence": "MIT", "metrics": {"Set5": 31.5, "protocol": "PSNR-Y"}}
    checkpoint = Checkpoint(small_checkpoint.architecture, small_checkpoint.tensors, info)
    save_checkpoint(tmp_path / "mine.safetensors", checkpoint)
    env = environment(tmp_path, hub.url)
    pushed = srgan("push", "mine.safetensors", "me/mine", env=env)
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.strip() == f"{hub.url}/me/mine"
    assert set(hub.files) == {
        f"me/mine/{name}"
        for name in ("README.md", "model.safetensors", "example.png", "example-sr.png")
    }

    used = srgan("upscale", photo, "--model", "hf:me/mine", "-o", "a.png", env=env)
    assert used.returncode == 0, used.stderr
    assert srgan("upscale", photo, "--model", "mine.safetensors", "-o", "b.png").returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    hub.files.clear()  # and without the hub: what was downloaded stays
    gone = environment(tmp_path, "http://127.0.0.1:9")
    again = srgan("upscale", photo, "--model", "hf:me/mine", "-o", "c.png", env=gone)
    assert again.returncode == 0, again.stderr


def test_the_card_is_in_the_hubs_format(
    tmp_path: Path, hub: Hub, small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    from srgan import hub as ours

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    info = {"metrics": {"psnr_y": 28.5, "ssim_y": 0.8, "iteration": 9}, "source": "somebody's"}
    checkpoint = Checkpoint(small_checkpoint.architecture, small_checkpoint.tensors, info)
    text = f"---\n{ours._metadata(checkpoint, 'me/mine').to_yaml()}\n---\n"
    card = ModelCard(text + ours._text(checkpoint, "me/mine"))
    assert card.data.model_name == "mine"
    assert card.data.pipeline_tag == "image-to-image"
    results = {(r.metric_type, r.metric_value) for r in card.data.eval_results or []}
    assert results == {("psnr", 28.5), ("ssim", 0.8)}
    (widget,) = card.data.to_dict()["widget"]
    assert widget["src"] == "https://huggingface.co/me/mine/resolve/main/example.png"
    ours._write_example(checkpoint, tmp_path)
    lr, sr = (Image.open(tmp_path / n) for n in ("example.png", widget["output"]["url"]))
    assert (sr.width, sr.height) == (4 * lr.width, 4 * lr.height)
    assert "hf:me/mine" in card.text and "Converted from somebody's" in card.text


def test_failures_are_one_line(
    tmp_path: Path, hub: Hub, photo: Path, small_model: Path, srgan: Command
) -> None:
    hub.repositories["me/empty"] = False
    closed = "http://127.0.0.1:9"  # nobody listens

    def refusal(*arguments: object, endpoint: str = hub.url, token: str = TOKEN) -> str:
        result = srgan(*arguments, env=environment(tmp_path, endpoint, token))
        assert result.returncode == 1, result.stderr
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr

    fetched = ("upscale", photo, "--model")
    assert "no such repository" in refusal(*fetched, "hf:me/none")
    assert "has no model.safetensors" in refusal(*fetched, "hf:me/empty")
    assert "use hf:USER/NAME" in refusal(*fetched, "hf:empty")
    assert "cannot be reached" in refusal(*fetched, "hf:me/mine", endpoint=closed)
    assert "log in with" in refusal("push", small_model, "me/mine", token="hf_wrong")
    assert "cannot be reached" in refusal("push", small_model, "me/mine", endpoint=closed)
    assert not hub.files


def test_another_file_of_a_repository(
    tmp_path: Path, hub: Hub, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["them/nets"] = False
    hub.files["them/nets/x4/small.safetensors"] = small_model.read_bytes()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    fetched = load_checkpoint("hf:them/nets/x4/small.safetensors")
    np.testing.assert_array_equal(
        fetched.tensors["tail.weight"], load_checkpoint(small_model).tensors["tail.weight"]
    )
