"""The SRResNet generator (Ledig et al. 2017, arXiv:1609.04802, section 2.1.1 and figure 4)."""

import torch
from torch import Tensor, nn

from srgan.checkpoint import Architecture, Checkpoint
from srgan.networks.activation import PReLU
from srgan.networks.tail import tail_after_shuffle


class ResidualBlock(nn.Module):
    """Convolution, BN, PReLU, convolution, BN, added to the input; shape is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = PReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class SubpixelBlock(nn.Module):
    """Convolution to 4 times the channels, PixelShuffle, PReLU: doubles both sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.prelu = PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.shuffle(self.conv(x)))


class Generator(nn.Module):
    """LR in, SR out: N x 3 x H x W to N x 3 x scale*H x scale*W, both RGB in [0, 1].

    The paper's Tanh output in [-1, 1] is mapped to [0, 1] here and nowhere else. With the
    default architecture it has 1,549,462 parameters.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = architecture or Architecture()
        channels = self.architecture.channels
        self.head = nn.Sequential()
        self.head.add_module("conv", nn.Conv2d(3, channels, 9, padding=4))
        self.head.add_module("prelu", PReLU())
        self.blocks = nn.Sequential(
            *(ResidualBlock(channels) for _ in range(self.architecture.blocks))
        )
        self.trunk = nn.Sequential()
        self.trunk.add_module("conv", nn.Conv2d(channels, channels, 3, padding=1))
        self.trunk.add_module("bn", nn.BatchNorm2d(channels))
        self.upsample = nn.Sequential(
            *(SubpixelBlock(channels) for _ in range(self.architecture.upsamplings))
        )
        self.tail = nn.Conv2d(channels, 3, 9, padding=4)

    def forward(self, lr: Tensor) -> Tensor:
        head = self.head(lr)
        features = head + self.trunk(self.blocks(head))
        features = self.upsample[:-1](features)
        # tail(upsample[-1](features)), exactly: a PReLU with one slope commutes with the
        # shuffle, and before it the tail is faster.
        conv, _, prelu = self.upsample[-1].children()
        sr = tail_after_shuffle(self.tail, prelu(conv(features)))
        # bf16 would leave SR no more than 8 bits.
        return (torch.tanh(sr.to(lr.dtype)) + 1) / 2

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Generator":
        """A generator with the model file's weights, in evaluation mode."""
        generator = cls(checkpoint.architecture)
        state = {name: torch.from_numpy(t.copy()) for name, t in checkpoint.tensors.items()}
        # The model file leaves out the batch counters, which inference never reads.
        counters = {k: v for k, v in generator.state_dict().items() if k.endswith("_tracked")}
        generator.load_state_dict(state | counters)
        return generator.eval()
