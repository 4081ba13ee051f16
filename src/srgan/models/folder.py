"""The folder of models: files in it can be named without path and suffix."""

import os
from pathlib import Path

SUFFIXES = (".safetensors", ".onnx", ".pth", ".pt", ".ckpt")  # the first wins among equal names


def models_folder() -> Path:
    """`SRGAN_MODELS`, by default `srgan/models` in the user's data folder."""
    own = os.environ.get("SRGAN_MODELS")
    if own:
        return Path(own)
    from platformdirs import user_data_path

    return user_data_path("srgan") / "models"


def found_models() -> dict[str, Path]:
    """The files of the models folder by the name that `--model` takes; empty without a folder."""
    try:
        files = sorted(models_folder().iterdir())
    except OSError:
        return {}
    known = [path for path in files if path.suffix in SUFFIXES and path.is_file()]
    known.sort(key=lambda path: SUFFIXES.index(path.suffix), reverse=True)
    return dict(sorted((path.stem, path) for path in known))
