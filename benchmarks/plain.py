"""SRResNet, SRGAN and their training as most implementations write them: what we compare with."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from srgan.networks.discriminator import Discriminator
from srgan.networks.features import FeatureExtractor
from srgan.networks.generator import Generator
from srgan.training.data.stored import find_pictures


class PlainGenerator(Generator):
    """The same network of torch's own layers in the order of the paper's figure."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.PReLU):
                    setattr(module, name, nn.PReLU())

    def forward(self, lr: Tensor) -> Tensor:
        head = self.head(lr)
        features = head + self.trunk(self.blocks(head))
        return (torch.tanh(self.tail(self.upsample(features))) + 1) / 2


class PlainCrops(Dataset[tuple[Tensor, Tensor]]):
    """A crop of every picture and epoch; LR by PIL in the loader."""

    def __init__(self, folder: Path, crop: int = 96, scale: int = 4) -> None:
        self.files = find_pictures(folder)
        self.crop, self.scale = crop, scale

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = Image.open(self.files[index]).convert("RGB")
        left = int(torch.randint(picture.width - self.crop + 1, ()))
        top = int(torch.randint(picture.height - self.crop + 1, ()))
        hr = picture.crop((left, top, left + self.crop, top + self.crop))
        side = self.crop // self.scale
        lr = hr.resize((side, side), Image.Resampling.BICUBIC)
        return to_tensor(lr), to_tensor(hr)


def to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float() / 255


def batches(folder: Path, batch_size: int) -> Iterator[list[Tensor]]:
    """Endless shuffled batches (LR, HR) from two worker processes."""
    loader = DataLoader(
        PlainCrops(folder),
        batch_size,
        shuffle=True,
        num_workers=2,
        drop_last=True,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    while True:
        yield from loader


class PlainSRResNet:
    """NCHW, fp32, eager, Adam."""

    def __init__(self, folder: Path, batch_size: int = 16) -> None:
        self.batches = batches(folder, batch_size)
        self.generator = PlainGenerator()
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=1e-4)

    def __call__(self) -> int:
        """One iteration; returns its crops."""
        lr, hr = next(self.batches)
        loss = functional.mse_loss(self.generator(lr), hr)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return len(lr)


class PlainSRGAN:
    """NCHW, fp32, eager, Adam for both networks."""

    def __init__(self, folder: Path, features: str, batch_size: int = 16) -> None:
        self.batches = batches(folder, batch_size)
        self.generator, self.discriminator = PlainGenerator(), Discriminator()
        self.extractor = FeatureExtractor(features)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=1e-4)
        self.optimizer_d = torch.optim.Adam(self.discriminator.parameters(), lr=1e-4)

    def __call__(self) -> int:
        """One iteration; returns its crops."""
        lr, hr = next(self.batches)
        sr = self.generator(lr)
        content = functional.mse_loss(self.extractor(sr)[0], self.extractor(hr)[0])
        logits = self.discriminator(sr)
        adversarial = cross_entropy(logits, torch.ones_like(logits))
        loss = content + 1e-3 * adversarial
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

        logits_hr, logits_sr = self.discriminator(hr), self.discriminator(sr.detach())
        loss = cross_entropy(logits_hr, torch.ones_like(logits_hr))
        loss = loss + cross_entropy(logits_sr, torch.zeros_like(logits_sr))
        self.optimizer_d.zero_grad()
        loss.backward()
        self.optimizer_d.step()
        return len(lr)


cross_entropy = functional.binary_cross_entropy_with_logits
