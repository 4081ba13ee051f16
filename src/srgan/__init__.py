"""srgan: SRResNet and SRGAN, 4x super-resolution.

>>> import srgan
>>> sr = srgan.upscale("photo.jpg")           # path, PIL image or numpy array
>>> upscaler = srgan.Upscaler.load("srresnet-x4")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srgan.models.load import load_checkpoint
    from srgan.upscaling.upscaler import Upscaler, upscale

__all__ = ["Upscaler", "__version__", "load_checkpoint", "upscale"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import on first use: `srgan --help` should not wait for numpy and openvino."""
    if name == "load_checkpoint":
        from srgan.models.load import load_checkpoint

        return load_checkpoint
    if name in ("Upscaler", "upscale"):
        from srgan.upscaling import upscaler

        return getattr(upscaler, name)
    raise AttributeError(f"module 'srgan' has no attribute {name!r}")
