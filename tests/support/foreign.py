"""Other people's generators, each in a few lines of plain torch, under their names.

Every network maps LR in [0, 1] to SR in [0, 1] as its author's inference script does.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

C, BLOCKS = 8, 3
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


def tree(**children: nn.Module) -> nn.Module:
    """A module with these children, which is all that its state dict shows."""
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


class Residual(nn.Sequential):
    def forward(self, input: Tensor) -> Tensor:
        return input + super().forward(input)


SGRVINOD_MODELS = """
from torch import nn

class ConvolutionalBlock(nn.Module):
    def __init__(self, inputs, outputs, kernel, bn=False, activation=None):
        super().__init__()
        layers = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)]
        layers += [nn.BatchNorm2d(outputs)] if bn else []
        layers += [activation] if activation else []
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x):
        return self.conv_block(x)

class SubPixelConvolutionalBlock(nn.Module):
    def __init__(self, kernel, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels * 4, kernel, padding=kernel // 2)
        self.pixel_shuffle = nn.PixelShuffle(2)
        self.prelu = nn.PReLU()

    def forward(self, x):
        return self.prelu(self.pixel_shuffle(self.conv(x)))

class ResidualBlock(nn.Module):
    def __init__(self, kernel, channels):
        super().__init__()
        self.conv_block1 = ConvolutionalBlock(channels, channels, kernel, True, nn.PReLU())
        self.conv_block2 = ConvolutionalBlock(channels, channels, kernel, True)

    def forward(self, x):
        return x + self.conv_block2(self.conv_block1(x))

class SRResNet(nn.Module):
    def __init__(self, large=9, small=3, channels=8, blocks=3, doublings=2):
        super().__init__()
        self.conv_block1 = ConvolutionalBlock(3, channels, large, activation=nn.PReLU())
        self.residual_blocks = nn.Sequential(
            *[ResidualBlock(small, channels) for _ in range(blocks)])
        self.conv_block2 = ConvolutionalBlock(channels, channels, small, True)
        self.subpixel_convolutional_blocks = nn.Sequential(
            *[SubPixelConvolutionalBlock(small, channels) for _ in range(doublings)])
        self.conv_block3 = ConvolutionalBlock(channels, 3, large, activation=nn.Tanh())

    def forward(self, x):
        head = self.conv_block1(x)
        x = self.conv_block2(self.residual_blocks(head)) + head
        return self.conv_block3(self.subpixel_convolutional_blocks(x))

class Generator(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.net = SRResNet(**options)

    def forward(self, x):
        return self.net(x)
"""


class Lornatang(nn.Module):
    """`flat`: the names of 2022 and before."""

    def __init__(self, flat: bool = False, doublings: int = 2) -> None:
        super().__init__()
        self.names = [f"conv_block{i}" if flat else f"conv{i}" for i in (1, 2, 3)]
        self.add_module(self.names[0], nn.Sequential(conv(3, C, 9), nn.PReLU()))
        layers = lambda: (conv(C, C, bias=False), nn.BatchNorm2d(C))  # noqa: E731
        self.trunk = nn.Sequential(
            *(tree(rcb=Residual(*layers(), nn.PReLU(), *layers())) for _ in range(BLOCKS))
        )
        self.add_module(self.names[1], nn.Sequential(*layers()))
        self.upsampling = nn.Sequential()
        for _ in range(doublings):
            up = nn.Sequential(conv(C, 4 * C), nn.PixelShuffle(2), nn.PReLU())
            self.upsampling.extend(up if flat else [tree(upsample_block=up)])
        self.add_module(self.names[2], conv(C, 3, 9))

    def forward(self, lr: Tensor) -> Tensor:
        first, second, third = (self.get_submodule(name) for name in self.names)
        head = x = first(lr)
        for block in self.trunk:
            x = block.get_submodule("rcb")(x)
        x = head + second(x)
        for block in self.upsampling:
            x = next(block.children())(x) if hasattr(block, "upsample_block") else block(x)
        return third(x).clamp(0, 1)


class MSRResNet(nn.Module):
    """BasicSR's; with other names KAIR's."""

    def __init__(
        self, body: str = "body", hr: str = "conv_hr", steps: Sequence[int] = (2, 2)
    ) -> None:
        super().__init__()
        self.names, self.steps = (body, hr), steps
        self.conv_first = conv(3, C)
        blocks = (tree(conv1=conv(C, C), conv2=conv(C, C)) for _ in range(BLOCKS))
        self.add_module(body, nn.Sequential(*blocks))
        for i, step in enumerate(steps, 1):
            self.add_module(f"upconv{i}", conv(C, step**2 * C))
        self.add_module(hr, conv(C, C))
        self.conv_last = conv(C, 3)

    def upsampled(self, x: Tensor) -> Tensor:
        for i, step in enumerate(self.steps, 1):
            x = functional.pixel_shuffle(self.get_submodule(f"upconv{i}")(x), step)
            x = functional.leaky_relu(x, 0.1)
        return x

    def forward(self, lr: Tensor) -> Tensor:
        body, hr = (self.get_submodule(name) for name in self.names)
        x = functional.leaky_relu(self.conv_first(lr), 0.1)
        for block in body.children():
            conv1, conv2 = block.children()
            x = x + conv2(functional.relu(conv1(x)))
        x = self.conv_last(functional.leaky_relu(hr(self.upsampled(x)), 0.1))
        base = functional.interpolate(lr, scale_factor=math.prod(self.steps), mode="bilinear")
        return (x + base).clamp(0, 1)


class MMagic(MSRResNet):
    def __init__(self) -> None:
        super().__init__(body="trunk_net", steps=())
        self.upsample1 = tree(upsample_conv=conv(C, 4 * C))
        self.upsample2 = tree(upsample_conv=conv(C, 4 * C))
        self.steps = (2, 2)

    def upsampled(self, x: Tensor) -> Tensor:
        for up in (self.upsample1, self.upsample2):
            x = functional.pixel_shuffle(up.get_submodule("upsample_conv")(x), 2)
        return x


class Leftthomas(nn.Module):
    """`prelu`: as in its published file of 2017, where block7 ends with a PReLU."""

    def __init__(self, prelu: bool = False, doublings: int = 2) -> None:
        super().__init__()
        self.block1 = nn.Sequential(conv(3, C, 9), nn.PReLU())
        for i in range(2, 7):
            block = Residual()
            for name, layer in (
                ("conv1", conv(C, C)),
                ("bn1", nn.BatchNorm2d(C)),
                ("prelu", nn.PReLU()),
                ("conv2", conv(C, C)),
                ("bn2", nn.BatchNorm2d(C)),
            ):
                block.add_module(name, layer)
            self.add_module(f"block{i}", block)
        self.block7 = nn.Sequential(conv(C, C), nn.PReLU() if prelu else nn.BatchNorm2d(C))
        up = [nn.Sequential() for _ in range(doublings)]
        for block in up:
            block.add_module("conv", conv(C, 4 * C))
            block.add_module("shuffle", nn.PixelShuffle(2))
            block.add_module("prelu", nn.PReLU())
        self.block8 = nn.Sequential(*up, conv(C, 3, 9))

    def forward(self, lr: Tensor) -> Tensor:
        head = x = self.block1(lr)
        for i in range(2, 8):
            x = self.get_submodule(f"block{i}")(x)
        return (torch.tanh(self.block8(head + x)) + 1) / 2


class Dongheehand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        act = nn.PReLU()

        def body(kernel: int, inputs: int, outputs: int, *more: nn.Module) -> nn.Module:
            return Body(conv(inputs, outputs, kernel), *more)

        self.conv01 = body(9, 3, C, act)
        self.body = nn.Sequential()
        for i in range(BLOCKS):
            pair = (
                body(3, C, C, nn.BatchNorm2d(C), act),
                body(3, C, C, nn.BatchNorm2d(C)),
            )
            self.body.add_module(str(i), tree(body=Residual(*pair)))
        self.conv02 = body(3, C, C, nn.BatchNorm2d(C))
        up = (Body(body(3, C, 4 * C), nn.PixelShuffle(2), act) for _ in range(2))
        self.tail = nn.Sequential(*up)
        self.last_conv = body(3, C, 3, nn.Tanh())

    def forward(self, lr: Tensor) -> Tensor:
        head = x = self.conv01(2 * lr - 1)
        for block in self.body:
            x = block.get_submodule("body")(x)
        return (self.last_conv(self.tail(self.conv02(x) + head)) + 1) / 2


class Body(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def randomised(network: nn.Module) -> nn.Module:
    """Random weights with which every part of the network shows in its output."""
    torch.manual_seed(0)
    last: Any = None
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            last = module
            nn.init.kaiming_normal_(module.weight, 0.5)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.2, 0.2)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.5)
        elif isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.3, 0.8)  # type: ignore[arg-type]
            for tensor in (module.bias, module.running_mean):
                nn.init.uniform_(tensor, -0.2, 0.2)  # type: ignore[arg-type]
    network.eval()
    seen: list[Tensor] = []
    hook = last.register_forward_hook(lambda _module, _x, y: seen.append(y))
    with torch.no_grad():
        network(torch.rand(1, 3, 16, 16))
    hook.remove()
    gain = 0.3 / seen[0].std((2, 3)).mean()
    last.weight.data *= gain
    last.bias.data = (last.bias.data - seen[0].mean((0, 2, 3))) * gain + 0.3
    return network


def sgrvinod(network: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda lr: (network((lr - MEAN) / STD) + 1) / 2
