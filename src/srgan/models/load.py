"""One call that loads any model: shipped, by path, other projects', or from the hub."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from srgan.models.file import CheckpointError, _checked, shipped_models
from srgan.networks.architecture import Checkpoint


def load_checkpoint(model: str | Path) -> Checkpoint:
    """Load a shipped model by name, or by its path a model file or another SRResNet's.

    Files other than .safetensors are taken for PyTorch's, and need it: see `srgan.models.convert`.
    hf:USER/NAME is downloaded from the Hugging Face hub.

    Raises:
        CheckpointError: no such model, or not an SRResNet's, or damaged.
        HubError: the hub does not give it.
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
    if path.suffix != ".safetensors":
        from srgan.models.convert import load_foreign

        return load_foreign(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({error}); download or train it again"
        ) from error
    if metadata.get("format") != "srgan-model":
        from srgan.models.convert import convert

        return convert(path, tensors)
    return _checked(path, metadata, tensors)
