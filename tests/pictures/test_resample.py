import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan.pictures.resample import bicubic, bicubic_8bit, bicubic_matrix, resize_rows, round_to


def reference(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """imresize's definition, one output sample at a time, in float64."""

    def kernel(x: float) -> float:
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    def along_rows(rows: np.ndarray, outputs: int) -> np.ndarray:
        inputs = len(rows)
        scale = outputs / inputs
        shrink = min(scale, 1)
        result = []
        for i in range(outputs):
            centre = (i + 0.5) / scale - 0.5
            taps = range(int(np.floor(centre - 2 / shrink)), int(np.ceil(centre + 2 / shrink)) + 1)
            weights = [kernel((t - centre) * shrink) for t in taps]
            total = sum(
                w * rows[min(max(t, 0), inputs - 1)] for t, w in zip(taps, weights, strict=True)
            )
            result.append(total / sum(weights))
        return np.array(result)

    tall = along_rows(image, height)
    return along_rows(tall.swapaxes(0, 1), width).swapaxes(0, 1)


@pytest.mark.parametrize("size", [(24, 30), (96, 120), (200, 131), (31, 240), (1, 1), (192, 240)])
def test_follows_the_definition(astronaut: np.ndarray, size: tuple[int, int]) -> None:
    image = astronaut.astype(np.float64)
    np.testing.assert_allclose(bicubic(image, *size), reference(image, *size), atol=1e-9)


@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100"])
def test_identical_to_matlabs_pictures(shared: Path, name: str) -> None:
    pictures = sorted((shared / "bench" / name / "HR").iterdir())
    assert pictures
    for path in pictures:
        hr = np.asarray(Image.open(path))
        lr = np.asarray(Image.open(path.parent.parent / "LRx4" / path.name))
        np.testing.assert_array_equal(bicubic_8bit(hr, *lr.shape[:2]), lr, path.name)


def test_rows_of_the_matrix_are_the_matrix() -> None:
    first, part = bicubic_matrix(100, 37, 10, 20)
    _, whole = bicubic_matrix(100, 37)
    np.testing.assert_array_equal(whole[10:20, first : first + part.shape[1]], part)
    np.testing.assert_allclose(whole.sum(1), 1)


@pytest.mark.parametrize("target", [(50, 41), (96, 120), (300, 250), (96, 33), (7, 120), (1, 1)])
@pytest.mark.parametrize("block", [1, 13, 96])
def test_resizing_rows_as_they_come(
    astronaut: np.ndarray, target: tuple[int, int], block: int
) -> None:
    blocks = (astronaut[i : i + block] for i in range(0, len(astronaut), block))
    result = np.concatenate(list(resize_rows(blocks, (96, 120), target)))
    np.testing.assert_allclose(result, bicubic(astronaut.astype(np.float64), *target), atol=1e-3)


def test_strong_reduction_holds_few_rows() -> None:
    """A product of many input rows at once would hold most of the picture."""
    rows = (np.zeros((10, 20_000, 3), np.uint8) for _ in range(200))
    tracemalloc.start()
    shapes = [block.shape for block in resize_rows(rows, (2000, 20_000), (200, 2000))]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(shape[0] for shape in shapes) == 200
    assert peak < 200e6  # the picture in float32: 480 MB


def test_rounding_is_half_up_and_clipped() -> None:
    values = np.array([-3.0, 0.49, 0.5, 1.5, 254.5, 300])
    assert round_to(values, np.dtype(np.uint8)).tolist() == [0, 0, 1, 2, 255, 255]
