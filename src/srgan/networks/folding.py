"""The generator as inference computes it: batch norm folded, the tail rewritten; NumPy only.

Both rewritings are exact. `features` and `reconstruct` state the network's arithmetic once. Each
engine runs them with its own operations.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from srgan.networks.architecture import Checkpoint, InputRange, Output
from srgan.networks.batch_norm import convolution_with_bn

# Mean and standard deviation by which LR is normalised, for R, G and B. They cannot be folded
# into the head: its convolution pads the normalised LR with zeros.
NORMALIZATION: dict[InputRange, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Convolution(NamedTuple):
    """A convolution of stride 1 and padding k // 2; a PReLU and a PixelShuffle may follow it.

    Attributes:
        name: in the model file, such as "blocks.0.conv1".
        weight: (outputs, inputs, k, k), float32.
        bias: (outputs,), float32.
        slope: the one parameter of the PReLU; None without a PReLU.
        shuffle: the factor of the PixelShuffle; 1 without one.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    slope: float | None = None
    shuffle: int = 1

    def blocks_first(self) -> tuple[np.ndarray, np.ndarray]:
        """Weight and bias with the outputs in the order of `blocks_first`."""
        order = blocks_first(len(self.bias), self.shuffle)
        return self.weight[order], self.bias[order]


def blocks_first(outputs: int, step: int) -> np.ndarray:
    """The order (place in a block, channel) of outputs: a shuffle of these copies whole pixels.

    PixelShuffle by `step` has (channel, place in a block).
    """
    return np.arange(outputs).reshape(-1, step**2).T.ravel()


@dataclass(frozen=True)
class FoldedGenerator:
    """The convolutions of a generator in the order they run.

    Attributes:
        scale: SR pixels per LR pixel along each axis.
        blocks: the two convolutions of each residual block.
        trunk: the convolution after the blocks; None if the architecture has none.
        upsample: the convolutions of the sub-pixel blocks.
        tail: reads the channels of the last `upsample` before the last PixelShuffle, which
            follows it: 3 channels for each pixel that this makes. With `hr` it is the convolution
            of the model file.
        hr: a convolution at the size of SR, or None. It reads shuffled channels.
        input, bilinear, output, unshuffle: as in `Architecture`.
    """

    scale: int
    head: Convolution
    blocks: tuple[tuple[Convolution, Convolution], ...]
    trunk: Convolution | None
    upsample: tuple[Convolution, ...]
    tail: Convolution
    hr: Convolution | None = None
    input: InputRange = "unit"
    bilinear: bool = False
    output: Output = "tanh"
    unshuffle: int = 1


class Operations(Protocol):
    """The operations that an engine provides, on its own tensors, N x C x H x W."""

    def convolution(self, x: Any, convolution: Convolution) -> Any:
        """Convolution and bias; PReLU and PixelShuffle if the convolution has them."""
        ...

    def add(self, a: Any, b: Any) -> Any: ...

    def shuffle(self, x: Any, step: int) -> Any:
        """PixelShuffle: (N, step^2 C, H, W) to (N, C, step * H, step * W)."""
        ...

    def unshuffle(self, x: Any, step: int) -> Any:
        """PixelUnshuffle, the inverse of `shuffle`. H and W are multiples of the step."""
        ...

    def to_unit_range(self, x: Any) -> Any:
        """(tanh(x) + 1) / 2."""
        ...

    # Only networks of other implementations use the following.

    def normalize(self, x: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
        """(x - mean) / std, each with one value per channel."""
        ...

    def join(self, a: Any, b: Any) -> Any:
        """Concatenate the channels of both."""
        ...

    def split(self, x: Any, channels: int) -> tuple[Any, Any]:
        """The first `channels` channels, and the others."""
        ...

    def enlarge(self, x: Any, scale: int) -> Any:
        """Enlarge bilinearly; pixel centres are aligned, edges repeated."""
        ...

    def clamp(self, x: Any) -> Any:
        """Clamp to [0, 1]."""
        ...


class WholeOperations(Operations, Protocol):
    """The operations of `whole`, for exported files, which take pictures of any size."""

    def fill(self, x: Any, multiple: int) -> Any:
        """Repeat the last rows and columns until H and W are multiples."""
        ...

    def cut(self, x: Any, like: Any, scale: int) -> Any:
        """The first scale * H rows and scale * W columns of x, for `like` of H x W."""
        ...


def fold(checkpoint: Checkpoint) -> FoldedGenerator:
    """Fold batch norm into the convolutions (in float64) and rewrite the tail."""
    tensors = checkpoint.tensors
    architecture = checkpoint.architecture

    def convolution(
        name: str, bn: str | None = None, prelu: str | None = None, shuffle: int = 1
    ) -> Convolution:
        weight, bias = convolution_with_bn(tensors, name, bn)
        slope = float(tensors[f"{prelu}.weight"][0]) if prelu else None
        return Convolution(name, weight, bias, slope, shuffle)

    def norm(name: str) -> str | None:
        return name if architecture.batch_norm else None

    *earlier, last = architecture.steps
    tail = convolution("tail")
    if not architecture.hr_conv:
        weight, bias = shuffled_tail(tail.weight, tail.bias, last)
        tail = Convolution("tail", weight, bias, shuffle=last)
    trunk = None
    if architecture.trunk != "none":
        follows = {architecture.trunk: f"trunk.{architecture.trunk}"}
        trunk = convolution("trunk.conv", follows.get("bn"), follows.get("prelu"))
    return FoldedGenerator(
        scale=architecture.scale,
        head=convolution("head.conv", prelu="head.prelu"),
        blocks=tuple(
            (
                convolution(f"blocks.{i}.conv1", norm(f"blocks.{i}.bn1"), f"blocks.{i}.prelu"),
                convolution(f"blocks.{i}.conv2", norm(f"blocks.{i}.bn2")),
            )
            for i in range(architecture.blocks)
        ),
        trunk=trunk,
        upsample=tuple(
            convolution(
                f"upsample.{i}.conv",
                prelu=f"upsample.{i}.prelu" if architecture.shuffle_prelu else None,
                shuffle=step,
            )
            for i, step in enumerate((*earlier, last if architecture.hr_conv else 1))
        ),
        tail=tail,
        hr=convolution("hr.conv", prelu="hr.prelu") if architecture.hr_conv else None,
        input=architecture.input,
        bilinear=architecture.bilinear,
        output=architecture.output,
        unshuffle=architecture.unshuffle,
    )


def shuffled_tail(weight: np.ndarray, bias: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Move a k x k convolution from after PixelShuffle(step) to before it, exactly.

    A convolution to 3 channels leaves most of a vector unit idle. At offset (dy, dx), output
    pixel (step*i + a, step*j + b) reads pixel (step*i + a + dy, step*j + b + dx). Before the
    shuffle, row and column read modulo the step select the channel, and divided by the step they
    are the position. So for a step of 2, the 9x9 convolution from C to 3 channels becomes a 5x5
    convolution from 4C to 12 channels at half the size, followed by a shuffle. A PReLU with one
    slope commutes with the shuffle.

    Args:
        weight: (outputs, C, k, k) with odd k; bias: (outputs,).

    Returns:
        Weight (step^2 * outputs, step^2 * C, k', k') with k' = 2 * ceil((k // 2) / step) + 1, and
        bias.
    """
    outputs, channels, kernel, _ = weight.shape
    radius = kernel // 2
    new_radius = -(-radius // step)
    size = 2 * new_radius + 1
    rewritten = np.zeros((outputs, step, step, channels, step, step, size, size), np.float32)
    for a, b, dy, dx in np.ndindex(step, step, kernel, kernel):
        row, row_rest = divmod(a + dy - radius, step)
        column, column_rest = divmod(b + dx - radius, step)
        target = rewritten[:, a, b, :, row_rest, column_rest]
        target[..., row + new_radius, column + new_radius] = weight[:, :, dy, dx]
    rewritten = rewritten.reshape(step**2 * outputs, step**2 * channels, size, size)
    return rewritten, np.repeat(bias, step**2)


def features(generator: FoldedGenerator, ops: Operations, lr: Any) -> Any:
    """Head, blocks and trunk: LR (N, 3, H, W) to features (N, C, H / unshuffle, W / unshuffle).

    This stage has most of the receptive field. H and W are multiples of `unshuffle`. C is
    `feature_channels`. With `bilinear`, the last 3 * unshuffle^2 channels are LR.
    """
    x = lr
    if generator.unshuffle > 1:
        x = lr = ops.unshuffle(lr, generator.unshuffle)
    if generator.input != "unit":
        mean, std = NORMALIZATION[generator.input]
        each = generator.unshuffle**2
        x = ops.normalize(x, *(tuple(np.repeat(values, each)) for values in (mean, std)))
    head = x = ops.convolution(x, generator.head)
    for conv1, conv2 in generator.blocks:
        x = ops.add(ops.convolution(ops.convolution(x, conv1), conv2), x)
    if generator.trunk is not None:
        x = ops.add(ops.convolution(x, generator.trunk), head)
    return ops.join(x, lr) if generator.bilinear else x


def feature_channels(generator: FoldedGenerator) -> int:
    """The number of channels that `features` returns."""
    return len(generator.head.bias) + (3 * generator.unshuffle**2 if generator.bilinear else 0)


def reconstruct(generator: FoldedGenerator, ops: Operations, x: Any) -> Any:
    """Sub-pixel blocks and tail: features to SR (N, 3, scale * H, scale * W).

    This stage needs most of the memory.
    """
    lr = None
    if generator.bilinear:
        x, lr = ops.split(x, len(generator.head.bias))
    for convolution in generator.upsample:
        x = ops.convolution(x, convolution)
    if generator.hr is not None:
        x = ops.convolution(x, generator.hr)
    sr = ops.convolution(x, generator.tail)
    if generator.bilinear:
        sr = ops.add(sr, _enlarged(generator, ops, lr))
    return ops.to_unit_range(sr) if generator.output == "tanh" else ops.clamp(sr)


def whole(generator: FoldedGenerator, ops: WholeOperations, lr: Any) -> Any:
    """The whole network: LR (N, 3, H, W) of any size to SR (N, 3, scale * H, scale * W)."""
    if generator.unshuffle == 1:
        return reconstruct(generator, ops, features(generator, ops, lr))
    filled = ops.fill(lr, generator.unshuffle)
    sr = reconstruct(generator, ops, features(generator, ops, filled))
    return ops.cut(sr, lr, generator.scale)


def _enlarged(generator: FoldedGenerator, ops: Operations, lr: Any) -> Any:
    """LR at the size of SR, from the channels that `features` adds."""
    if generator.unshuffle > 1:
        lr = ops.shuffle(lr, generator.unshuffle)
    return ops.enlarge(lr, generator.scale) if generator.scale > 1 else lr


def convolutions(generator: FoldedGenerator) -> Iterator[Convolution]:
    """Yield all convolutions in the order they run."""
    yield generator.head
    for pair in generator.blocks:
        yield from pair
    if generator.trunk is not None:
        yield generator.trunk
    yield from generator.upsample
    if generator.hr is not None:
        yield generator.hr
    yield generator.tail


def tail_halo(generator: FoldedGenerator) -> int:
    """The halo of `reconstruct`: the positions of the features that it reads around a tile."""
    radius, size = 0.0, 1
    hr = () if generator.hr is None else (generator.hr,)
    for convolution in (*generator.upsample, *hr, generator.tail):
        radius += _radius(convolution) / size
        size *= convolution.shuffle
    enlarges = generator.bilinear and generator.scale > 1
    return max(int(np.ceil(radius)), 1 if enlarges else 0)


def _radius(convolution: Convolution) -> int:
    return convolution.weight.shape[-1] // 2
