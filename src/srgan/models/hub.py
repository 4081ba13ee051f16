"""Downloads models from the Hugging Face hub, `--model hf:USER/NAME`, and publishes them there."""

import tempfile
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any

from PIL import Image

from srgan.errors import UserError, need, reason_of
from srgan.models.file import WEIGHTS, save_checkpoint
from srgan.networks.architecture import Checkpoint, parameters

PREFIX = "hf:"
MODEL_FILE = "model.safetensors"
TIMEOUT = 10  # seconds for the first answer
WIDGET = WEIGHTS / "widget.png"  # a part of NASA's portrait of E. Collins, public domain
# Licences that the hub knows, by its names. Others appear in the card's text only.
LICENCES = ("mit", "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0")
# Metrics of a training run on its held-out pictures: names in the model file and on the hub.
HELD_OUT_METRICS = {"psnr_y": "psnr", "ssim_y": "ssim"}


class HubError(UserError):
    """A download or an upload failed: one line with the reason and what to do."""


def fetch(model: str) -> Path:
    """Download a model, unless it is in the cache.

    Args:
        model: hf:USER/NAME for model.safetensors, or hf:USER/NAME/FILE for another file.

    Returns:
        The file in the cache of huggingface_hub. It is used when the hub cannot be reached.

    Raises:
        HubError: there is no such file, or the hub cannot be reached and the file is not cached.
        MissingExtraError: huggingface_hub is not installed.
    """
    user, _, rest = model.removeprefix(PREFIX).partition("/")
    name, _, file = rest.partition("/")
    if not (user and name):
        raise HubError(f"{model}: use hf:USER/NAME, or hf:USER/NAME/FILE")
    hub, file = _library(model), file or MODEL_FILE
    offline = _unreachable(hub)
    try:
        return Path(hub.hf_hub_download(f"{user}/{name}", file, local_files_only=bool(offline)))
    except Exception as error:  # the library, its session and the disk raise many kinds
        raise HubError(f"{model}: {offline or _reason(error, file)}") from error


def push(
    checkpoint: Checkpoint,
    repository: str,
    *,
    upscale: Callable[[Image.Image], Image.Image],
    private: bool = False,
) -> str:
    """Upload a model with its card and an example to a repository, which is made if missing.

    Args:
        repository: USER/NAME.
        upscale: runs the model, for the card's example.
        private: make a new repository private.

    Returns:
        The URL of its page.

    Raises:
        HubError: the hub cannot be reached, or the user is not logged in.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = _library(repository)
    if offline := _unreachable(hub):
        raise HubError(f"{repository}: {offline}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_checkpoint(folder / MODEL_FILE, checkpoint)
        _write_example(upscale, folder)
        card = _metadata(checkpoint, repository).to_yaml()
        text = f"---\n{card}\n---\n\n{_text(checkpoint, repository)}"
        (folder / "README.md").write_text(text, encoding="utf-8")
        additions = [hub.CommitOperationAdd(file.name, file) for file in sorted(folder.iterdir())]
        try:
            hub.create_repo(repository, private=private, exist_ok=True)
            hub.create_commit(repository, additions, commit_message="srgan push")
        except Exception as error:  # the library and its session raise many kinds
            raise HubError(f"{repository}: {_reason(error, MODEL_FILE)}") from error
    return f"{_endpoint()}/{repository}"


def _library(model: str) -> Any:
    need("hub", f"{model}: the hub")
    import huggingface_hub

    return huggingface_hub


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _unreachable(hub: Any) -> str:
    """The reason why the hub cannot be reached, or "".

    huggingface_hub itself would retry for half a minute, and print a dozen lines, before it looks
    into its cache.
    """
    try:
        hub.get_session().head(_endpoint(), timeout=TIMEOUT)
    except Exception as error:  # the session's library depends on huggingface_hub's version
        return f"the hub cannot be reached ({reason_of(error)[:200]})"
    return ""


def _reason(error: Exception, file: str) -> str:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.LocalTokenNotFoundError) or status in (401, 403):
        return "not logged in to the hub: log in with: hf auth login"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository, or a private one; log in with: hf auth login"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"the repository has no {file}; name another file with hf:USER/NAME/FILE"
    return (reason_of(error) or type(error).__name__)[:300]


def _write_example(upscale: Callable[[Image.Image], Image.Image], folder: Path) -> None:
    with Image.open(WIDGET) as picture:
        picture.save(folder / "example.png")
        upscale(picture.convert("RGB")).save(folder / "example-sr.png")


def _metadata(checkpoint: Checkpoint, repository: str) -> Any:
    from huggingface_hub import ModelCardData

    licence = str(checkpoint.info.get("licence", "")).lower().partition(" ")[0]
    example = {
        "src": f"{_endpoint()}/{repository}/resolve/main/example.png",
        "output": {"url": "example-sr.png"},
    }
    return ModelCardData(
        library_name="srgan",
        pipeline_tag="image-to-image",
        tags=["super-resolution", "image-upscaling", "srresnet", "srgan"],
        license=licence if licence in LICENCES else None,
        model_name=str(checkpoint.info.get("name", repository.rpartition("/")[2])),
        eval_results=_results(checkpoint) or None,
        widget=[example],
    )


def _results(checkpoint: Checkpoint) -> list[Any]:
    """The model file's metrics: on its training's held-out pictures, or PSNR-Y by benchmark set."""
    from huggingface_hub import EvalResult

    metrics = checkpoint.info.get("metrics", {})
    values = [
        ("held-out pictures", metric, metrics[name])
        for name, metric in HELD_OUT_METRICS.items()
        if name in metrics
    ] or [(name, "psnr", value) for name, value in metrics.items() if isinstance(value, Real)]
    return [
        EvalResult(
            task_type="image-to-image",
            task_name="Super-resolution",
            dataset_type=dataset.lower().replace(" ", "-"),
            dataset_name=f"{dataset}, x{checkpoint.architecture.scale}",
            metric_type=metric,
            metric_name=f"{metric.upper()}-Y",
            metric_value=float(value),
        )
        for dataset, metric, value in values
    ]


def _text(checkpoint: Checkpoint, repository: str) -> str:
    """The text of the card: of a shipped model its own card, otherwise facts of the model file."""
    name = str(checkpoint.info.get("name", repository.rpartition("/")[2]))
    shipped = WEIGHTS / f"{name}.md"
    about = shipped.read_text(encoding="utf-8") if shipped.is_file() else _about(checkpoint, name)
    return f"""\
{about.rstrip()}

| before | after |
|---|---|
| <img src="example.png" width="384"> | <img src="example-sr.png" width="384"> |

```bash
pip install "srgan[hub]"
srgan upscale photo.jpg --model {PREFIX}{repository}
```
"""


def _about(checkpoint: Checkpoint, name: str) -> str:
    info, architecture = checkpoint.info, checkpoint.architecture
    scale = architecture.scale
    purpose = f"{scale}x super-resolution" if scale > 1 else "Restoration at the same size"
    parts = [
        f"# {name}",
        f"{purpose} of photographs by an SRResNet generator (Ledig et al. 2017, arXiv:1609.04802) "
        f"of {architecture.blocks} blocks with "
        f"{architecture.channels} channels: {parameters(checkpoint):,} parameters.",
        info.get("description"),
    ]
    if "source" in info:
        parts.append(f"Converted from {info['source']}.")
    rows = [f"| {name} | {value} |" for name, value in info.get("metrics", {}).items()]
    if rows:
        parts.append("\n".join(["| metric | value |", "|---|---|", *rows]))
    if "licence" in info:
        parts.append(f"Licence: {info['licence']}")
    return "\n\n".join(str(part) for part in parts if part)
