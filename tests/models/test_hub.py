import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from srgan.models.file import save_checkpoint
from srgan.models.hub import HubError
from srgan.models.load import load_checkpoint
from srgan.networks.architecture import Checkpoint
from srgan.upscaling.upscaler import Upscaler
from tests.support.command import Command
from tests.support.hub_server import Hub

TOKEN = "hf_secret"
CLOSED = "http://127.0.0.1:9"  # nobody listens


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
    (tmp_path / "uploaded.safetensors").write_bytes(hub.files["me/mine/model.safetensors"])
    uploaded = load_checkpoint(tmp_path / "uploaded.safetensors")
    assert uploaded.info == info
    for name, tensor in checkpoint.tensors.items():
        np.testing.assert_array_equal(uploaded.tensors[name], tensor)

    hub.files.clear()  # and without the hub: what was downloaded stays
    gone = environment(tmp_path, CLOSED)
    again = srgan("upscale", photo, "--model", "hf:me/mine", "-o", "b.png", env=gone)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_card_is_in_the_hubs_format(
    tmp_path: Path, hub: Hub, small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    from srgan.models import hub as ours

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://huggingface.co")
    info = {"metrics": {"psnr_y": 28.5, "ssim_y": 0.8, "iteration": 9}, "source": "somebody's"}
    checkpoint = Checkpoint(small_checkpoint.architecture, small_checkpoint.tensors, info)
    text = f"---\n{ours._metadata(checkpoint, 'me/mine').to_yaml()}\n---\n"
    card: Any = ModelCard(text + ours._text(checkpoint, "me/mine"))
    assert card.data.model_name == "mine"
    assert card.data.pipeline_tag == "image-to-image"
    results = {(r.metric_type, r.metric_value) for r in card.data.eval_results or []}
    assert results == {("psnr", 28.5), ("ssim", 0.8)}
    (widget,) = card.data.to_dict()["widget"]
    assert widget["src"] == "https://huggingface.co/me/mine/resolve/main/example.png"
    ours._write_example(Upscaler(checkpoint), tmp_path)
    lr, sr = (Image.open(tmp_path / n) for n in ("example.png", widget["output"]["url"]))
    assert (sr.width, sr.height) == (4 * lr.width, 4 * lr.height)
    assert "hf:me/mine" in card.text and "Converted from somebody's" in card.text


def connect(monkeypatch: pytest.MonkeyPatch, endpoint: str, cache: Path) -> None:
    """What HF_ENDPOINT does, for downloads in this process."""
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))


def test_what_cannot_be_fetched_is_one_line(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["me/empty"] = False

    def refusal(model: str) -> str:
        with pytest.raises(HubError) as error:
            load_checkpoint(model)
        assert str(error.value).startswith(f"{model}: ")
        assert "\n" not in str(error.value)
        return str(error.value)

    connect(monkeypatch, hub.url, tmp_path)
    assert "no such repository" in refusal("hf:me/none")
    assert "has no model.safetensors" in refusal("hf:me/empty")
    assert "use hf:USER/NAME" in refusal("hf:empty")
    connect(monkeypatch, CLOSED, tmp_path)
    assert "cannot be reached" in refusal("hf:me/empty")


@pytest.mark.parametrize(
    ("endpoint", "says"), [("open", "log in with: hf auth login"), (CLOSED, "cannot be reached")]
)
def test_what_cannot_be_pushed_is_one_line(
    tmp_path: Path, hub: Hub, small_model: Path, srgan: Command, endpoint: str, says: str
) -> None:
    url = hub.url if endpoint == "open" else endpoint
    env = environment(tmp_path, url, token="hf_wrong")
    result = srgan("push", small_model, "me/mine", env=env)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert says in result.stderr
    assert not hub.files


def test_another_file_of_a_repository(
    tmp_path: Path, hub: Hub, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["them/nets"] = False
    hub.files["them/nets/x4/small.safetensors"] = small_model.read_bytes()
    connect(monkeypatch, hub.url, tmp_path)
    fetched = load_checkpoint("hf:them/nets/x4/small.safetensors")
    np.testing.assert_array_equal(
        fetched.tensors["tail.weight"], load_checkpoint(small_model).tensors["tail.weight"]
    )
