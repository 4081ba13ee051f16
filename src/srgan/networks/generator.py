"""The SRResNet generator (Ledig et al. 2017, arXiv:1609.04802, section 2.1.1 and figure 4)."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from srgan.networks.activation import PReLU
from srgan.networks.architecture import Architecture, Checkpoint
from srgan.networks.folding import NORMALIZATION
from srgan.networks.tail import SubpixelBlock, block_and_tail


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
        inputs = 3 * architecture.unshuffle**2
        self.head.add_module("conv", _convolution(inputs, channels, architecture.head_kernel))
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
            *(SubpixelBlock(architecture, step) for step in architecture.steps)
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
        size = [architecture.scale * side for side in lr.shape[-2:]]
        lr = _whole_positions(lr, architecture.unshuffle)
        x = lr if architecture.input == "unit" else (lr - self.mean) / self.std
        head = self.head(functional.pixel_unshuffle(x, architecture.unshuffle))
        features = self.blocks(head)
        if architecture.trunk != "none":
            features = head + self.trunk(features)
        sr = self._reconstruct(features)
        # Under autocast x is bf16, whose 8 bits are too coarse for SR.
        sr = sr.to(lr.dtype)
        if architecture.bilinear:
            sr = sr + functional.interpolate(lr, scale_factor=architecture.scale, mode="bilinear")
        sr = (torch.tanh(sr) + 1) / 2 if architecture.output == "tanh" else sr.clamp(0, 1)
        return sr if architecture.unshuffle == 1 else sr[..., : size[0], : size[1]]

    def _reconstruct(self, features: Tensor) -> Tensor:
        if self.architecture.hr_conv:
            return self.tail(self.hr(self.upsample(features)))
        *blocks, last = self.upsample
        for block in blocks:
            features = block(features)
        return block_and_tail(cast(SubpixelBlock, last), self.tail, features)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Generator":
        """A generator with the model file's weights, in evaluation mode."""
        generator = cls(checkpoint.architecture)
        state = {name: torch.as_tensor(t.copy()) for name, t in checkpoint.tensors.items()}
        # The model file leaves out BN's batch counters: inference never reads them.
        counters = {k: v for k, v in generator.state_dict().items() if k.endswith("_tracked")}
        generator.load_state_dict(state | counters)
        return generator.eval()


def _whole_positions(lr: Tensor, unshuffle: int) -> Tensor:
    """LR with its last rows and columns repeated up to a multiple of `unshuffle`."""
    if unshuffle == 1:
        return lr
    missing = [-side % unshuffle for side in lr.shape[-2:]]
    return functional.pad(lr, (0, missing[1], 0, missing[0]), mode="replicate")


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
