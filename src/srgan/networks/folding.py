"""The generator as inference computes it: batch norm folded, the tail rewritten; numpy only.

Both rewritings are exact. Both engines run the two functions at the end of this module, each
with its own operations, so that the network's arithmetic is stated once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from srgan.networks.architecture import Checkpoint, InputRange, Output, Tensors

BN_EPSILON = 1e-5
# Mean and standard deviation that are taken out of LR, RGB. What differs from (0, 1) cannot be
# folded into the head: a convolution pads with zero after it.
NORMALIZATION: dict[InputRange, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class Convolution(NamedTuple):
    """Weight (outputs, inputs, k, k) and bias (outputs,), float32; stride 1, padding k // 2.

    `slope` is the one parameter of the PReLU that follows, None where none does.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray
    slope: float | None = None


@dataclass(frozen=True)
class FoldedGenerator:
    """The convolutions of a generator in the order they run.

    `blocks` are pairs of convolutions. Each of `upsample` has 4C outputs and is followed by
    its PReLU and, but for the last one, a PixelShuffle. `tail` reads the 4C channels of the
    last one at half the SR size and gives 12 channels for the last PixelShuffle. With an `hr`
    convolution, which wants its input shuffled, `tail` is as in the model file.
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


class Operations(Protocol):
    """What an engine brings: operations on its own tensors, NCHW."""

    def convolution(self, x: Any, convolution: Convolution) -> Any:
        """Convolution, bias, and PReLU where the convolution has a slope."""
        ...

    def add(self, a: Any, b: Any) -> Any: ...

    def shuffle(self, x: Any) -> Any:
        """PixelShuffle by 2: (N, 4C, H, W) to (N, C, 2H, 2W)."""
        ...

    def to_unit_range(self, x: Any) -> Any:
        """(tanh(x) + 1) / 2."""
        ...

    # What only networks of other implementations have:

    def normalize(self, x: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> Any:
        """(x - mean) / std, by channel."""
        ...

    def join(self, a: Any, b: Any) -> Any:
        """The channels of both."""
        ...

    def split(self, x: Any, channels: int) -> tuple[Any, Any]:
        """The first channels, and the others."""
        ...

    def enlarge(self, x: Any, scale: int) -> Any:
        """Bilinear, pixel centres aligned, edges repeated."""
        ...

    def clamp(self, x: Any) -> Any:
        """To [0, 1]."""
        ...


def fold(checkpoint: Checkpoint) -> FoldedGenerator:
    """Fold batch norm into the convolutions (in float64) and rewrite the tail."""
    tensors = checkpoint.tensors
    architecture = checkpoint.architecture

    def convolution(name: str, bn: str | None = None, prelu: str | None = None) -> Convolution:
        weight, bias = _folded(tensors, name, bn)
        slope = float(tensors[f"{prelu}.weight"][0]) if prelu else None
        return Convolution(name, weight, bias, slope)

    def norm(name: str) -> str | None:
        return name if architecture.batch_norm else None

    tail = convolution("tail")
    if not architecture.hr_conv:
        weight, bias = shuffled_tail(tail.weight, tail.bias)
        tail = Convolution("tail", weight, bias)
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
            )
            for i in range(architecture.upsamplings)
        ),
        tail=tail,
        hr=convolution("hr.conv", prelu="hr.prelu") if architecture.hr_conv else None,
        input=architecture.input,
        bilinear=architecture.bilinear,
        output=architecture.output,
    )


def without_bn(checkpoint: Checkpoint) -> Checkpoint:
    """The same network with its BN folded into the convolutions: what is left of BN is identity."""
    tensors = dict(checkpoint.tensors)
    for convolution, bn in _normalized(tensors):
        weight, bias = _folded(tensors, convolution, bn)
        tensors |= {f"{convolution}.weight": weight, f"{convolution}.bias": bias}
        zeros = np.zeros_like(bias)
        tensors |= {f"{bn}.weight": zeros + 1, f"{bn}.bias": zeros, f"{bn}.running_mean": zeros}
        tensors[f"{bn}.running_var"] = zeros + np.float32(1 - BN_EPSILON)
    return replace(checkpoint, tensors=tensors)


def with_deviations_of(reference: Checkpoint, checkpoint: Checkpoint) -> Checkpoint:
    """A network `without_bn` whose BN divides by the reference's deviations again.

    Its kernels are multiplied by them. It computes the same, but can be trained on: kernels that
    BN is folded into are up to 100 times smaller, and an optimizer whose updates have a length of
    their own, as Muon, breaks them.
    """
    tensors = dict(checkpoint.tensors)
    for convolution, bn in _normalized(tensors):
        deviation = _deviation(reference.tensors, bn)
        weight, bias = tensors[f"{convolution}.weight"], tensors[f"{convolution}.bias"]
        tensors |= {
            f"{convolution}.weight": (weight * deviation[:, None, None, None]).astype(np.float32),
            f"{convolution}.bias": np.zeros_like(bias),
            f"{bn}.bias": bias,
            f"{bn}.running_var": reference.tensors[f"{bn}.running_var"],
        }
    return replace(checkpoint, tensors=tensors)


def _normalized(tensors: Tensors) -> list[tuple[str, str]]:
    """The convolutions that BN follows, each with the BN, by name."""
    norms = [name.removesuffix(".running_var") for name in tensors if name.endswith(".running_var")]
    return [(bn.replace("bn", "conv"), bn) for bn in norms]


def _deviation(tensors: Tensors, bn: str) -> np.ndarray:
    """What a BN divides by, float64."""
    return np.sqrt(tensors[f"{bn}.running_var"].astype(np.float64) + BN_EPSILON)


def _folded(tensors: Tensors, name: str, bn: str | None) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if bn is None:
        return weight, bias
    gain = tensors[f"{bn}.weight"] / _deviation(tensors, bn)
    bias = (bias - tensors[f"{bn}.running_mean"]) * gain + tensors[f"{bn}.bias"]
    return (weight * gain[:, None, None, None]).astype(np.float32), bias.astype(np.float32)


def shuffled_tail(weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Move a k x k convolution from behind a PixelShuffle to before it, exactly.

    A convolution to 3 channels leaves most of a vector unit idle. Output pixel (2i + a, 2j + b)
    reads, at offset (dy, dx), pixel (2i + a + dy, 2j + b + dx): its parity names the channel
    before the shuffle, its half the position. So the 9x9 convolution from C to 3 channels
    becomes a 5x5 one from 4C to 12 channels at half the size, followed by a shuffle. A PReLU
    with one slope commutes with the shuffle.

    Args:
        weight: (outputs, C, k, k) with odd k; bias: (outputs,).

    Returns:
        Weight (4 * outputs, 4C, k', k') with k' = 2 * ((k // 2 + 1) // 2) + 1, and bias.
    """
    outputs, channels, kernel, _ = weight.shape
    radius = kernel // 2
    new_radius = (radius + 1) // 2
    size = 2 * new_radius + 1
    rewritten = np.zeros((outputs, 2, 2, channels, 2, 2, size, size), np.float32)
    for a, b, dy, dx in np.ndindex(2, 2, kernel, kernel):
        row, row_parity = divmod(a + dy - radius, 2)
        column, column_parity = divmod(b + dx - radius, 2)
        target = rewritten[:, a, b, :, row_parity, column_parity]
        target[..., row + new_radius, column + new_radius] = weight[:, :, dy, dx]
    return rewritten.reshape(4 * outputs, 4 * channels, size, size), np.repeat(bias, 4)


def features(generator: FoldedGenerator, ops: Operations, lr: Any) -> Any:
    """The trunk: LR (N, 3, H, W) to features (N, C, H, W). Most of the receptive field.

    C is `feature_channels`: with a bilinear skip, LR is carried along as the last 3.
    """
    x = lr
    if generator.input != "unit":
        x = ops.normalize(x, *NORMALIZATION[generator.input])
    head = x = ops.convolution(x, generator.head)
    for conv1, conv2 in generator.blocks:
        x = ops.add(ops.convolution(ops.convolution(x, conv1), conv2), x)
    if generator.trunk is not None:
        x = ops.add(ops.convolution(x, generator.trunk), head)
    return ops.join(x, lr) if generator.bilinear else x


def feature_channels(generator: FoldedGenerator) -> int:
    """Channels of what `features` gives."""
    return len(generator.head.bias) + (3 if generator.bilinear else 0)


def reconstruct(generator: FoldedGenerator, ops: Operations, x: Any) -> Any:
    """Sub-pixel blocks and tail: features to SR (N, 3, scale * H, scale * W). Most memory."""
    lr = None
    if generator.bilinear:
        x, lr = ops.split(x, len(generator.head.bias))
    for convolution in generator.upsample[:-1]:
        x = ops.shuffle(ops.convolution(x, convolution))
    x = ops.convolution(x, generator.upsample[-1])
    if generator.hr is None:
        sr = ops.shuffle(ops.convolution(x, generator.tail))
    else:
        sr = ops.convolution(ops.convolution(ops.shuffle(x), generator.hr), generator.tail)
    if generator.bilinear:
        sr = ops.add(sr, ops.enlarge(lr, generator.scale))
    return ops.to_unit_range(sr) if generator.output == "tanh" else ops.clamp(sr)


def convolutions(generator: FoldedGenerator) -> Iterator[Convolution]:
    """All convolutions, in the order they run."""
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
    """LR pixels around a tile that `reconstruct` reads: its receptive field's radius."""
    radius = 0.0
    for i, convolution in enumerate(generator.upsample):
        radius += (convolution.weight.shape[-1] // 2) / 2**i
    last = [generator.tail] if generator.hr is None else [generator.hr, generator.tail]
    size = generator.scale / 2 if generator.hr is None else generator.scale
    radius += sum((convolution.weight.shape[-1] // 2) / size for convolution in last)
    return max(int(np.ceil(radius)), 1 if generator.bilinear else 0)
