"""srgan: SRResNet and SRGAN, 4x super-resolution.

>>> import srgan
>>> sr = srgan.upscale("photo.jpg")           # path, PIL image or numpy array
>>> upscaler = srgan.Upscaler.load("srresnet-x4")
"""

TYPE_CHECKING = False  # typing takes long to import: Ctrl-C could come meanwhile
if TYPE_CHECKING:
    from typing import Any

    __version__: str
    from srgan.models.load import load_checkpoint
    from srgan.upscaling.loaded import upscale
    from srgan.upscaling.upscaler import Upscaler

__all__ = ["Upscaler", "__version__", "load_checkpoint", "upscale"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> "Any":
    """Import on first use: `srgan --help` must not wait for numpy and openvino."""
    if name == "load_checkpoint":
        from srgan.models.load import load_checkpoint

        return load_checkpoint
    if name == "Upscaler":
        from srgan.upscaling.upscaler import Upscaler

        return Upscaler
    if name == "upscale":
        from srgan.upscaling.loaded import upscale

        return upscale
    if name == "__version__":
        from importlib.metadata import version

        return version("srgan")
    raise AttributeError(f"module 'srgan' has no attribute {name!r}")
