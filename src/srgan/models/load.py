"""One place that decides what a file is, and loads it: shipped, by path, or from the hub."""

from pathlib import Path

from srgan.models.file import CheckpointError, read_checkpoint, shipped_models
from srgan.models.folder import found_models
from srgan.networks.architecture import Checkpoint
from srgan.networks.foreign import ForeignNetwork, Model


def load_model(model: str | Path) -> Model:
    """Load a model from its name, a path, or hf:USER/NAME.

    A name is that of a shipped model, or of a file in the models folder, without its suffix. A
    path names a model file, an ONNX file, the checkpoint of another SRResNet, or that of any
    network that spandrel recognises. PyTorch files need PyTorch. hf:USER/NAME/FILE is downloaded
    from the Hugging Face hub.

    Raises:
        CheckpointError: there is no such model, or the file is damaged, unsafe, or of no network
            from picture to picture.
        HubError: the hub does not deliver the model.
        MissingExtraError: PyTorch, spandrel or the hub's library is needed, and not installed.
    """
    path = _find(model)
    if path.suffix == ".onnx":
        from srgan.models.onnx_file import read_onnx

        return read_onnx(path)
    if path.suffix == ".safetensors":
        checkpoint = read_checkpoint(path)
        if checkpoint is not None:
            return checkpoint
    from srgan.models.convert import load_foreign

    return load_foreign(path)


def load_checkpoint(model: str | Path) -> Checkpoint:
    """Load an SRResNet or SRGAN generator: what can be trained, mixed, exported and shared.

    Takes the same values as `load_model`, and raises the same errors.

    Raises:
        CheckpointError: also if the model is another network.
    """
    loaded = load_model(model)
    if isinstance(loaded, ForeignNetwork):
        raise CheckpointError(
            f"{model}: {loaded.architecture} is not an SRResNet; it can upscale pictures, but not "
            "be trained, mixed, exported or pushed"
        )
    return loaded


def _find(model: str | Path) -> Path:
    if str(model).startswith("hf:"):
        from srgan.models.hub import fetch

        return fetch(str(model))
    path = shipped_models().get(str(model), Path(model))
    if not path.is_file():
        path = found_models().get(str(model), path)
    if not path.is_file():
        names = ", ".join([*shipped_models(), *found_models()])
        if str(model) == "auto":
            raise CheckpointError(f"auto chooses a model for each picture; here name one: {names}")
        raise CheckpointError(
            f"{model}: no such model; use a path to a model file, hf:USER/NAME, or one of: {names}"
        )
    return path
