"""One call that loads any model: shipped, by path, of another project, or from the hub."""

from pathlib import Path

from srgan.models.file import CheckpointError, read_checkpoint, shipped_models
from srgan.networks.architecture import Checkpoint


def load_checkpoint(model: str | Path) -> Checkpoint:
    """Load a model from the name of a shipped model, a path, or hf:USER/NAME.

    A path names a model file or the checkpoint of another SRResNet implementation
    (`srgan.models.convert`). Files that do not end in .safetensors are PyTorch files and need
    PyTorch. hf:USER/NAME is downloaded from the Hugging Face hub.

    Raises:
        CheckpointError: there is no such model, or the file is damaged or not an SRResNet's.
        HubError: the hub does not deliver the model.
        MissingExtraError: PyTorch or the hub's library is needed, and not installed.
    """
    if str(model).startswith("hf:"):
        from srgan.models.hub import fetch

        model = fetch(str(model))
    path = shipped_models().get(str(model), Path(model))
    if not path.is_file():
        raise CheckpointError(
            f"{model}: no such model; use a path to a model file, hf:USER/NAME, or one of: "
            + ", ".join(shipped_models())
        )
    if path.suffix == ".safetensors":
        checkpoint = read_checkpoint(path)
        if checkpoint is not None:
            return checkpoint
    from srgan.models.convert import load_foreign

    return load_foreign(path)
