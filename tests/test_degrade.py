import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from srgan.degrade import bicubic_lr, unit
from srgan.resample import bicubic_8bit


@pytest.fixture(scope="module")
def hr() -> Tensor:
    """Crops of three photographs, and noise, whose LR needs clipping: 13 x 3 x 96 x 72."""
    photographs = [data.astronaut(), data.cat(), data.coffee()]
    crops = [p[y : y + 96, x : x + 72] for p in photographs for y in (0, 150) for x in (0, 200)]
    noise = np.random.default_rng(0).choice([0, 255], (96, 72, 3)).astype(np.uint8)
    return torch.from_numpy(np.stack([*crops, noise])).permute(0, 3, 1, 2)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_lr_is_matlabs_on_every_sample(hr: Tensor, scale: int, memory: torch.memory_format) -> None:
    lr = bicubic_lr(hr.contiguous(memory_format=memory), scale)
    expected = [
        bicubic_8bit(image.permute(1, 2, 0).numpy(), 96 // scale, 72 // scale) for image in hr
    ]
    assert lr.dtype == torch.float32
    assert torch.equal(lr, torch.from_numpy(np.stack(expected)).permute(0, 3, 1, 2) / 255)


def test_autocast_does_not_touch_the_lr(hr: Tensor) -> None:
    expected = bicubic_lr(hr, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bicubic_lr(hr, 4), expected)


def test_size_that_is_no_multiple(hr: Tensor) -> None:
    with pytest.raises(ValueError, match="96 x 72 is no multiple of the scale, 5"):
        bicubic_lr(hr, 5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_on_a_gpu_with_tf32(hr: Tensor, scale: int) -> None:
    expected = bicubic_lr(hr, scale)
    torch.set_float32_matmul_precision("high")
    try:
        assert torch.equal(255 * bicubic_lr(hr.cuda(), scale).cpu(), 255 * expected)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_unit(hr: Tensor) -> None:
    result = unit(hr)
    assert torch.equal(result, hr.float() / 255)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert hr.dtype == torch.uint8
