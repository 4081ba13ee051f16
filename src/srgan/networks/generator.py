"""The SRResNet generator (Ledig et al. 2017, arXiv:1609.04802, section 2.1.1 and figure 4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from srgan.networks.activation import PReLU
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.networks.folding import NORMALIZATION
from srgan.networks.tail import tail_after_shuffle


class ResidualBlock(nn.Module):
    """x + BN(conv(PReLU(BN(conv(x))))): the output has the shape of the input, N x C x H x W."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels, kernel = architecture.channels, architecture.kernel
        self.conv1 = _convolution(channels, channels, kernel)
        self.bn1 = nn.BatchNorm2d(channels) if architecture.batch_norm else nn.Identity()
        self.prelu = PReLU()
        self.conv2 = _convolution(channels, channels, kernel)
        self.bn2 = nn.BatchNorm2d(channels) if architecture.batch_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class SubpixelBlock(nn.Module):
    """Convolution to 4C channels, PixelShuffle, PReLU: N x C x H x W to N x C x 2H x 2W."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = architecture.channels
        self.conv = _convolution(channels, 4 * channels, architecture.kernel)
        self.shuffle = nn.PixelShuffle(2)
        self.prelu = PReLU() if architecture.shuffle_prelu else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.shuffle(self.conv(x)))


class Generator(nn.Module):
    """LR, N x 3 x H x W, to SR, N x 3 x scale*H x scale*W; both are RGB in [0, 1].

    The paper's network ends in Tanh. This class alone maps its [-1, 1] to [0, 1]. The default
    architecture has 1,549,462 parameters.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = architecture = architecture or Architecture()
        channels, kernel = architecture.channels, architecture.kernel
        self.head = nn.Sequential()
        self.head.add_module("conv", _convolution(3, channels, architecture.head_kernel))
        self.head.add_module("prelu", PReLU())
        self.blocks = nn.Sequential(
            *(ResidualBlock(architecture) for _ in range(architecture.blocks))
        )
        self.trunk = nn.Sequential()
        if architecture.trunk != "none":
            self.trunk.add_module("conv", _convolution(channels, channels, kernel))
        if architecture.trunk == "bn":
            self.trunk.add_module("bn", nn.BatchNorm2d(channels))
        if architecture.trunk == "prelu":
            self.trunk.add_module("prelu", PReLU())
        self.upsample = nn.Sequential(
            *(SubpixelBlock(architecture) for _ in range(architecture.upsamplings))
        )
        if architecture.hr_conv:
            self.hr = nn.Sequential()
            self.hr.add_module("conv", _convolution(channels, channels, kernel))
            self.hr.add_module("prelu", PReLU())
        self.tail = _convolution(channels, 3, architecture.tail_kernel)
        if architecture.input != "unit":
            mean, std = (torch.tensor(v).view(3, 1, 1) for v in NORMALIZATION[architecture.input])
            self.register_buffer("mean", mean, persistent=False)
            self.register_buffer("std", std, persistent=False)

    def forward(self, lr: Tensor) -> Tensor:
        architecture = self.architecture
        x = lr if architecture.input == "unit" else (lr - self.mean) / self.std
        head = self.head(x)
        features = self.blocks(head)
        if architecture.trunk != "none":
            features = head + self.trunk(features)
        sr = self._reconstruct(features)
        # Under autocast x is bf16, whose 8 bits are too coarse for SR.
        sr = sr.to(lr.dtype)
        if architecture.bilinear:
            sr = sr + functional.interpolate(lr, scale_factor=architecture.scale, mode="bilinear")
        return (torch.tanh(sr) + 1) / 2 if architecture.output == "tanh" else sr.clamp(0, 1)

    def _reconstruct(self, features: Tensor) -> Tensor:
        if self.architecture.hr_conv:
            return self.tail(self.hr(self.upsample(features)))
        features = self.upsample[:-1](features)
        # Equals tail(upsample[-1](features)): a PReLU with one slope commutes with the shuffle.
        # Before the shuffle the tail is faster.
        conv, _, prelu = self.upsample[-1].children()
        return tail_after_shuffle(self.tail, prelu(conv(features)))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Generator":
        """A generator with the model file's weights, in evaluation mode."""
        generator = cls(checkpoint.architecture)
        state = {name: torch.as_tensor(t.copy()) for name, t in checkpoint.tensors.items()}
        # The model file leaves out BN's batch counters: inference never reads them.
        counters = {k: v for k, v in generator.state_dict().items() if k.endswith("_tracked")}
        generator.load_state_dict(state | counters)
        return generator.eval()


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
