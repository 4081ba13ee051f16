"""The discriminators: the paper's judges pictures, the other one judges VGG's features."""

from collections.abc import Sequence

from torch import Tensor, nn

from srgan.networks import elementwise

# Outputs of blocks 1 to 7; block 0 is the 9x9 convolution to 64.
CHANNELS = (64, 128, 128, 256, 256, 512, 512)
POOLED = 6
SLOPE = 0.2
WIDTH = 64  # channels inside a head of the feature discriminator
LARGE = 128  # layers with at most this many channels are large: their head halves both sides
TINY = 1e-6  # smallest divisor: the features of a black picture can have mean 0


class ConvolutionBlock(nn.Module):
    """3x3 convolution, BN, LeakyReLU. A stride of 2 halves both sides, rounded up."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class Discriminator(nn.Module):
    """Pictures, N x 3 x H x W, RGB in [0, 1], to logits, N x 1: positive is HR, negative is SR.

    The paper's network (Ledig et al. 2017, arXiv:1609.04802, section 2.1.1 and figure 4) but for
    its first convolution: 9x9 as in the readme that the project started from, where figure 4 has
    3x3 (k3n64s1). H and W are free: the last features are averaged to 6 x 6, their size for
    96 x 96 pictures. This class alone maps the input to [-1, 1], zero-centred as in the paper. It
    has 23,579,329 parameters: every convolution has a bias, also before a BN.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential()
        self.head.add_module("conv", nn.Conv2d(3, 64, 9, padding=4))
        self.head.add_module("activation", nn.LeakyReLU(SLOPE, inplace=True))
        self.blocks = nn.Sequential()
        inputs = 64
        for number, outputs in enumerate(CHANNELS, start=1):
            # Odd blocks halve the sides, even ones double the channels.
            self.blocks.append(ConvolutionBlock(inputs, outputs, stride=1 + number % 2))
            inputs = outputs
        self.pool = nn.AdaptiveAvgPool2d(POOLED)
        self.hidden = nn.Linear(inputs * POOLED**2, 1024)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)
        self.logit = nn.Linear(1024, 1)

    def forward(self, picture: Tensor) -> Tensor:
        features = self.blocks(self.head(2 * picture - 1))
        return self.logit(self.activation(self.hidden(self.pool(features).flatten(1))))


class FeatureDiscriminator(nn.Module):
    """VGG's features, N x C x h x w for each layer, to logits, N x 1 x h' x w' for each layer.

    A projected discriminator (Sauer et al. 2021, arXiv:2111.01007). Each logit judges one place
    of one layer by its surroundings: positive is HR, negative is SR. The features are the ones of
    the content loss. Three convolutions per layer are enough to judge them, and learn fast. Each
    layer's features are divided by their mean, because layers differ by orders of magnitude.

    Args:
        channels: C of each layer, as in `FeatureExtractor.channels`.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_head(inputs) for inputs in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [head(_by_mean(layer)) for head, layer in zip(self.heads, features, strict=True)]


def _by_mean(layer: Tensor) -> Tensor:
    """Each sample of a layer, N x C x h x w, divided by its mean."""
    if elementwise.takes_features(layer):
        return elementwise.by_mean(layer, TINY)
    return layer / layer.mean(dim=(1, 2, 3), keepdim=True).clamp_min(TINY)


def _head(inputs: int) -> nn.Sequential:
    stride = 2 if inputs <= LARGE else 1
    return nn.Sequential(
        nn.Conv2d(inputs, WIDTH, 1),
        nn.LeakyReLU(SLOPE, inplace=True),
        nn.Conv2d(WIDTH, WIDTH, 3, stride=stride, padding=1),
        nn.LeakyReLU(SLOPE, inplace=True),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.LeakyReLU(SLOPE, inplace=True),
        nn.Conv2d(WIDTH, 1, 1),
    )
