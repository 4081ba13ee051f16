"""Networks that are not SRResNets, as plain data: what a file of another project holds."""

from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from srgan.networks.architecture import Checkpoint, Tensors

if TYPE_CHECKING:
    from torch import nn

ONNX = "ONNX"


@dataclass(frozen=True)
class Sizes:
    """Heights and widths, in LR pixels, that a network takes.

    Attributes:
        minimum: least height and width.
        multiple: heights and widths are multiples of it.
        square: height and width are equal.
        fixed: the only (height, width), or None.
    """

    minimum: int = 1
    multiple: int = 1
    square: bool = False
    fixed: tuple[int, int] | None = None

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """The least (height, width) that the network takes and that holds `height` x `width`.

        Raises:
            ValueError: the fixed size is smaller.
        """
        if self.fixed is not None:
            if height > self.fixed[0] or width > self.fixed[1]:
                raise ValueError(f"{height} x {width} does not fit into {self.fixed}")
            return self.fixed
        height = ceil(max(height, self.minimum) / self.multiple) * self.multiple
        width = ceil(max(width, self.minimum) / self.multiple) * self.multiple
        if self.square:
            height = width = max(height, width)
        return height, width

    def example(self, height: int, width: int) -> tuple[int, int]:
        """The (height, width) of an example: the fixed size, or the given one, padded."""
        return self.fixed or self.padded(height, width)


@dataclass(frozen=True)
class ForeignNetwork:
    """A network of another project, as read from its file.

    Attributes:
        architecture: its name in spandrel, such as "ESRGAN", or "ONNX".
        scale: SR pixels per LR pixel along each axis, 1 to 8.
        channels: of its input and its output: 3 for RGB, 1 for gray.
        parameters: number of trainable values; of an ONNX file, all stored values.
        sizes: heights and widths that it takes.
        digest: SHA-256 of its weights, as hexadecimal digits; names it in caches.
        half: the file stores half precision.
        tensors: the weights by their names in spandrel; empty for an ONNX file.
        onnx: the bytes of an ONNX file; empty otherwise.
        info: other facts as JSON values: name, licence, halo.
    """

    architecture: str
    scale: int
    channels: int
    parameters: int
    sizes: Sizes
    digest: str
    half: bool = False
    tensors: Tensors = field(default_factory=dict[str, Any], repr=False)
    onnx: bytes = field(default=b"", repr=False)
    info: dict[str, Any] = field(default_factory=dict[str, Any])


Model = Checkpoint | ForeignNetwork  # what `--model` takes


def torch_module(network: ForeignNetwork) -> "nn.Module":
    """Rebuild a network of spandrel's as a torch module, float32, in evaluation mode.

    Its input is (1, channels, H, W) in [0, 1], of a height and width that `sizes` allow; the
    module does not change it.
    """
    import torch
    from spandrel import ModelLoader

    tensors: dict[str, Any] = {
        name: torch.as_tensor(tensor) for name, tensor in network.tensors.items()
    }
    loader: Any = ModelLoader()
    descriptor = loader.load_from_state_dict(tensors)
    descriptor.model.float().eval()

    class Called(torch.nn.Module):
        """The network as spandrel calls it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = descriptor.model

        def forward(self, lr: torch.Tensor) -> torch.Tensor:
            # Cloned: RCAN multiplies its input in place.
            return descriptor._call_fn(self.network, lr.clone()).clamp(0, 1)

    return Called().eval()
