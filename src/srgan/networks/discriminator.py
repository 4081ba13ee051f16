"""Discriminators: the paper's, which sees pictures, and one that sees VGG's features of them."""

from collections.abc import Sequence

from torch import Tensor, nn

# Outputs of blocks 1 to 7; block 0 is the 9x9 convolution to 64.
CHANNELS = (64, 128, 128, 256, 256, 512, 512)
POOLED = 6
SLOPE = 0.2
WIDTH = 64  # of a head of the feature discriminator
LARGE = 128  # features of at most so many channels are halved in their head
TINY = 1e-6  # mean feature of a black picture


class ConvolutionBlock(nn.Module):
    """3x3 convolution, BN, LeakyReLU; a stride of 2 halves both sides, rounded up."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class Discriminator(nn.Module):
    """N x 3 x H x W, RGB in [0, 1], to N x 1 logits: positive says HR, negative says SR.

    The paper's (Ledig et al. 2017, arXiv:1609.04802, section 2.1.1 and figure 4). Any H and W:
    the features are averaged to 6 x 6, which for 96 x 96 is what they are. The input is mapped to
    [-1, 1], zero-centred as the paper's, here and nowhere else. It has 23,579,329 parameters:
    every convolution has a bias, also those before a BN.
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
    """VGG's features, one N x C x h x w of each layer, to logits, one N x 1 x h' x w' of each.

    Every place of every layer is judged by what is around it: positive says HR, negative says
    SR. The features are those of the content loss, so that a head of three convolutions is
    enough, and learns fast: a projected discriminator (Sauer et al. 2021, arXiv:2111.01007).
    They are divided by their mean, in which layers differ by orders of magnitude.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_head(inputs) for inputs in channels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [
            head(layer / layer.mean(dim=(1, 2, 3), keepdim=True).clamp_min(TINY))
            for head, layer in zip(self.heads, features, strict=True)
        ]


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
