"""Pairs: training pictures whose LR is given as files, instead of made from HR."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srgan.evaluation.benchmark import EvaluationError, find_lr, listing
from srgan.pictures.images import PictureError
from srgan.pictures.pixels import gray_uint16, rgb_uint8
from srgan.training.data.stored import (
    DataError,
    HasDigests,
    Pictures,
    StoredPicture,
    open_training_picture,
)

COMPARED = 256  # LR pixels a side, at most, that `check_pair` compares
SHIFTED = 0.6  # LR pixels; `hr[::scale, ::scale]` is LR shifted by almost 0.5
SURE = 0.2  # correlation of both pictures' gradients at their shift; the noisiest LR has more
BETTER = 0.8  # the part of both pictures' difference that is left when the shift is undone
RELATED = 0.5  # correlation of both pictures' values; other pictures have less
FLAT = 2.0  # standard deviation, 8-bit levels, under which pictures cannot be compared


class BothSizes(NamedTuple):
    """HR, and LR where it is given: of one picture (H, W, C), or of crops (n, H, W, C).

    RGB is uint8, gray uint16.
    """

    hr: np.ndarray
    lr: np.ndarray | None = None


@dataclass(frozen=True)
class Pairs:
    """Which LR file belongs to which HR file.

    Attributes:
        files: LR by HR.
        scale: HR pixels per LR pixel along each axis.
        gray: LR is read as gray uint16.
    """

    files: dict[Path, Path]
    scale: int
    gray: bool = False
    _checked: set[Path] = field(default_factory=set[Path])

    def lr_of(self, picture: Path | StoredPicture, hr: np.ndarray) -> np.ndarray:
        """The LR of a picture, RGB uint8 or gray uint16 (H // scale, W // scale, C).

        Args:
            hr: the whole picture, (H, W, C).

        Raises:
            PictureError: LR is damaged, or its size or its content does not fit HR.
        """
        path = self.files[Path(str(picture))]
        lr = (gray_uint16 if self.gray else rgb_uint8)(open_training_picture(path)[:, :])
        if path not in self._checked:
            if (problem := check_pair(rgb_uint8(hr), rgb_uint8(lr), self.scale)) is not None:
                raise PictureError(f"{path}: {problem}")
            self._checked.add(path)
        return lr


def find_pairs(
    folder: Path,
    scale: int,
    sources: Sequence[tuple[Path, Sequence[Path | StoredPicture]]],
    *,
    gray: bool = False,
) -> Pairs:
    """Find the LR of every picture by its name, as `find_lr` does; no file is opened.

    Args:
        folder: of LR, with the subfolders that HR has.
        sources: folders of HR, and the pictures in each.

    Raises:
        DataError: a picture has no LR.
    """
    files: dict[Path, Path] = {}
    missing: list[Path] = []
    present: dict[Path, dict[str, Path]] = {}
    for root, pictures in sources:
        for picture in pictures:
            if not isinstance(picture, Path):
                raise DataError(f"{picture}: --lr-folder is for folders of picture files only")
            place = folder / picture.parent.relative_to(root)
            if place not in present:
                present[place] = listing(place) if place.is_dir() else {}
            try:
                files[picture] = find_lr(place, picture, scale, present[place])
            except EvaluationError:
                missing.append(picture)
    if missing:
        others = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise DataError(
            f"{missing[0]}{others}: no LR picture of that name in {folder}: add it, or remove HR"
        )
    return Pairs(files, scale, gray)


def check_pair(hr: np.ndarray, lr: np.ndarray, scale: int) -> str | None:
    """Why LR cannot be the LR of HR: its size, a shift, another picture. None if it can.

    The shift is the place of the largest correlation of the gradients of LR and of HR's means of
    scale x scale pixels, between pixels by a parabola. Blur, noise and other colours do not move
    it.

    Args:
        hr, lr: uint8 (H, W, 3).
    """
    height, width = (side // scale for side in hr.shape[:2])
    if lr.shape[:2] != (height, width):
        return (
            f"{lr.shape[1]} x {lr.shape[0]} pixels, not {width} x {height}, HR's "
            f"{hr.shape[1]} x {hr.shape[0]} divided by {scale}"
        )
    rows, columns = min(height, COMPARED), min(width, COMPARED)
    top, left = (height - rows) // 2, (width - columns) // 2
    small = lr[top : top + rows, left : left + columns].mean(axis=2, dtype=np.float32)
    part = hr[top * scale : (top + rows) * scale, left * scale : (left + columns) * scale]
    gray = part.mean(axis=2, dtype=np.float32)
    large = gray.reshape(rows, scale, columns, scale).mean(axis=(1, 3))
    if min(rows, columns) < 8 or min(small.std(), large.std()) < FLAT:
        return None
    found = _shift(large, small)
    if found is not None:
        return f"not aligned with HR: shifted by about {_in_words(found, scale)}"
    if 1 - _difference(large, small, 0, 0) < RELATED:
        return "shows another picture than HR"
    return None


def _shift(large: np.ndarray, small: np.ndarray) -> tuple[float, float] | None:
    """How far `small` is shifted down and right, in its pixels; None if it is not, or unsure."""
    fields = [np.fft.fft2(_gradient(each)) for each in (large, small)]
    norm = np.prod([np.linalg.norm(each) for each in fields])
    match = np.fft.ifft2(fields[1] * fields[0].conj()).real * fields[0].size / norm
    y, x = (int(place) for place in np.unravel_index(match.argmax(), match.shape))
    if match[y, x] < SURE:
        return None
    down, right = _centred(match[:, x], y), _centred(match[y], x)
    if max(abs(down), abs(right)) < SHIFTED:
        return None
    # A blurred or aliased lattice may match its neighbour's gradients, but not its values.
    undone = _difference(large, small, round(down), round(right))
    return (down, right) if undone < BETTER * _difference(large, small, 0, 0) else None


def _difference(large: np.ndarray, small: np.ndarray, down: int, right: int) -> float:
    """1 minus the correlation of the values where both overlap, `small` shifted back."""
    height, width = large.shape
    a = large[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    b = small[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    return 1 - float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _gradient(gray: np.ndarray) -> np.ndarray:
    """Differences to the right and, as the imaginary part, downwards."""
    corner = gray[:-1, :-1]
    return (gray[:-1, 1:] - corner) + 1j * (gray[1:, :-1] - corner)


def _centred(line: np.ndarray, peak: int) -> float:
    """The place of a periodic line's maximum, from -n / 2 to n / 2, by a parabola."""
    before, at, after = line[peak - 1], line[peak], line[(peak + 1) % len(line)]
    curve = before - 2 * at + after
    part = (before - after) / (2 * curve) if curve else 0.0
    return float((peak if peak <= len(line) // 2 else peak - len(line)) + part)


def _in_words(shift: tuple[float, float], scale: int) -> str:
    down, right = (round(part * scale) for part in shift)
    parts = [
        f"{abs(value)} {positive if value > 0 else negative}"
        for value, positive, negative in ((right, "right", "left"), (down, "down", "up"))
        if value
    ]
    return f"{' and '.join(parts)} (pixels of HR)"


def with_lr(pictures: Pictures | HasDigests, pairs: Pairs | None) -> Pictures | HasDigests:
    """The pictures and the files of their LR, to notice that any has changed."""
    if pairs is None or not isinstance(pictures, Sequence):
        return pictures
    return [*pictures, *(pairs.files[Path(str(picture))] for picture in pictures)]
