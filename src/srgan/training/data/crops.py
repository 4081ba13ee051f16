"""HR crops for training, cut from pictures.

The crops of a run are a pure function of its files, their order, the crop size, the batch size
and the seed. The number of worker processes changes nothing, and a resumed run sees the crops
that it would have seen without the interruption. The unit of work is a round of about 2048 crops,
or fewer if they are larger than 192 x 192: many crops are cut from each picture that is decoded,
and a round's crops are shuffled.
"""

import functools
import logging
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple, Required, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from srgan.pictures.images import PictureError, TooManyPixelsError
from srgan.pictures.pixels import gray_uint16, rgb_uint8
from srgan.pictures.stores import StoreError
from srgan.training.data.pairs import BothSizes, Pairs
from srgan.training.data.stored import (
    DataError,
    Pictures,
    Selected,
    StoredPicture,
    StoredPictures,
    open_training_picture,
    photographs,
)

log = logging.getLogger("srgan")

CROPS_PER_PICTURE = 16
CROPS_PER_ROUND = 2048
BYTES_PER_ROUND = CROPS_PER_ROUND * 192 * 192 * 3  # at most, where a batch is smaller: 226 MB

# Added to the run's seed, one per purpose.
ORDER, CROPS, SHUFFLE, SPLIT = range(4)


def split(pictures: Pictures, count: int, seed: int) -> tuple[Pictures, Pictures]:
    """Hold out `count` pictures for validation, and at most half of all from training.

    Of a photograph that `srgan prepare` has cut, all sub-images are held out together, since they
    overlap: the fewest photographs that have enough, in a random order. Where one photograph is
    more than half of all pictures, single ones are held out, with a warning.

    Returns:
        The training and the validation pictures, both in the given order.
    """
    order: list[int] = np.random.default_rng((seed, SPLIT)).permutation(len(pictures)).tolist()
    shown = photographs(pictures)
    parts = Counter(shown)
    most = len(pictures) // 2
    away: set[str] = set()  # photographs that training does not see
    left = most  # pictures that may still be held out
    for index in order:
        photograph = shown[index]
        enough = most - left >= min(count, most)
        if not enough and photograph not in away and parts[photograph] <= left:
            left -= parts[photograph]
            away.add(photograph)
    if not away and most and count:
        log.warning("validation pictures are parts of photographs that are trained on, too")
        shown = [str(index) for index in range(len(pictures))]
        away = {shown[index] for index in order[: min(count, most)]}
    held_out = [index for index in order if shown[index] in away][:count]
    validation = [pictures[index] for index in sorted(held_out)]
    indices = np.array([i for i, name in enumerate(shown) if name not in away], np.int64)
    if isinstance(pictures, StoredPictures):
        return Selected(pictures, indices), validation
    return [pictures[int(index)] for index in indices], validation


@functools.lru_cache(maxsize=2)  # a round may end in the next epoch
def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of `count` pictures or shards in an epoch: their indices, shuffled."""
    return np.random.default_rng((seed, ORDER, epoch)).permutation(count)


def read_pixels(source: Path | StoredPicture, at_least: int, *, gray: bool = False) -> np.ndarray:
    """A picture as (H, W, 3) uint8, upright: gray repeated, alpha dropped, 16 bits rounded to 8.

    Args:
        gray: as (H, W, 1) uint16 instead.

    Raises:
        PictureError: it is damaged, or a side is shorter than `at_least` pixels.
    """
    picture = open_training_picture(source)
    height, width, _ = picture.shape
    if min(height, width) < at_least:
        raise PictureError(f"{source}: {width} x {height} pixels, less than a crop of {at_least}")
    return (gray_uint16 if gray else rgb_uint8)(picture[:, :])


def reason(error: PictureError, picture: object) -> str:
    """An error's text without the file's name and without an option that training lacks."""
    text = error.reason if isinstance(error, TooManyPixelsError) else str(error)
    return text.removeprefix(f"{picture}: ")


class Round(NamedTuple):
    """A round of crops.

    Attributes:
        crops: (n, crop, crop, 3) RGB uint8, or (n, crop, crop, 1) gray uint16. n is 0 where no
            picture can be used.
        unusable: the reason for each picture that was skipped, by its name. The key ""
            holds the error of the store itself.
        shard: for a stream, the visit of a shard that the round ends in; see streams.py.
        lr: of pairs, the same for sides of crop / scale.
    """

    crops: Tensor
    unusable: dict[str, str]
    shard: int = 0
    lr: Tensor | None = None


class Cutting(TypedDict, total=False):
    """How crops are cut: the options of `Rounds` that its subclasses and `open_loader` hand on."""

    crop: Required[int]
    batch_size: Required[int]
    seed: Required[int]
    candidates: int
    flat_share: float
    gray: bool


class Rounds:
    """The sizes of rounds.

    Args:
        crop: side of the crops in pixels.
        batch_size: crops in a (micro-)batch; a round consists of whole batches.
        candidates: random places for each crop; the one with the most detail is taken.
        flat_share: share of crops that become one colour, from 0 to 1.
        gray: crops are gray, of 16 bits.
        pairs: the LR files of the pictures, if there are any; their crops stay as they are.
    """

    def __init__(
        self,
        *,
        crop: int,
        batch_size: int,
        seed: int,
        candidates: int = 1,
        flat_share: float = 0.0,
        gray: bool = False,
        pairs: Pairs | None = None,
    ) -> None:
        self.pairs = pairs
        self.gray = gray
        self.crop = crop
        self.candidates = candidates
        self.flat_share = flat_share
        self.seed = seed
        crops = min(CROPS_PER_ROUND, BYTES_PER_ROUND // (crop * crop * 3))
        self.batches_per_round = max(1, crops // batch_size)
        self.crops_per_round = self.batches_per_round * batch_size
        self.crops_per_picture = CROPS_PER_PICTURE
        self.lr_crop = crop // pairs.scale if pairs is not None else 0
        self.round_bytes = self.crops_per_round * (crop**2 + self.lr_crop**2) * (2 if gray else 3)

    def new_crops(self, side: int) -> np.ndarray:
        """Memory for a round of crops."""
        shape = (self.crops_per_round, side, side)
        return np.empty((*shape, 1), np.uint16) if self.gray else np.empty((*shape, 3), np.uint8)

    def cut(
        self, picture: BothSizes, rng: np.random.Generator, crops: BothSizes, places: np.ndarray
    ) -> None:
        """Fill `places` of `crops` with random crops of `picture`, LR with the same parts as HR."""
        height, width, _ = picture.hr.shape
        crop, step = crops.hr.shape[1], 1
        if picture.lr is not None and crops.lr is not None:  # at pixels of LR, as far as it reaches
            step = crop // crops.lr.shape[1]
            height, width = (step * side for side in picture.lr.shape[:2])
        shape = len(places), self.candidates
        tops = step * rng.integers((height - crop) // step + 1, size=shape)
        lefts = step * rng.integers((width - crop) // step + 1, size=shape)
        turns = rng.integers(8, size=len(places))

        def window(pixels: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
            return pixels[top : top + side, left : left + side]

        for place, *corners, turn in zip(places, tops, lefts, turns, strict=True):
            windows = [
                window(picture.hr, top, left, crop) for top, left in zip(*corners, strict=True)
            ]
            best = 0
            if len(windows) > 1:
                best = max(range(len(windows)), key=lambda i: _detail(windows[i]))
            top, left = (int(each[best]) for each in corners)
            crops.hr[place] = _turned(windows[best], turn)
            if picture.lr is not None and crops.lr is not None:
                small = window(picture.lr, top // step, left // step, crop // step)
                crops.lr[place] = _turned(small, turn)
        if crops.lr is None:
            flat = places[rng.random(len(places)) < self.flat_share]
            colours = _colours(rng, len(flat))[:, None]
            crops.hr[flat] = (gray_uint16(colours) if self.gray else colours)[:, None]


class Crops(Rounds, Dataset[Round]):
    """Rounds of random crops, by their numbers; a number always gives the same crops.

    Pictures are taken in an endless order: all of them shuffled, then all of them shuffled
    again, and so on. Crops are at uniform places, flipped and rotated in one of 8 ways. A picture
    that cannot be read or is smaller than a crop is replaced by the next one in the order.

    Raises:
        DataError: there are no pictures.
    """

    def __init__(
        self, pictures: Pictures, *, pairs: Pairs | None = None, **cutting: Unpack[Cutting]
    ) -> None:
        if not pictures:
            raise DataError("there are no pictures to train on: give another folder")
        super().__init__(pairs=pairs, **cutting)
        self.pictures = pictures  # sent to each worker once
        self._bad: dict[int, tuple[str, str]] = {}  # name and reason, by index

    def __getitem__(self, index: int) -> Round:
        """Cut the crops of round `index`."""
        growing = GrowingRound(self, index)
        return growing.with_crops(0, self.crops_per_round)

    def picture(self, position: int, bad: dict[str, str]) -> BothSizes | None:
        """The first usable picture in the endless order from `position` on, if there is any."""
        count = len(self.pictures)
        for step in range(position, position + 2 * count):  # contains every picture
            epoch, place = divmod(step, count)
            index = int(permutation(self.seed, epoch, count)[place])
            if index not in self._bad:
                picture = self.pictures[index]
                try:
                    hr = read_pixels(picture, at_least=self.crop, gray=self.gray)
                    return BothSizes(hr, self.pairs.lr_of(picture, hr) if self.pairs else None)
                except PictureError as error:
                    self._bad[index] = str(picture), reason(error, picture)
                except StoreError as error:
                    bad.clear()
                    bad[""] = str(error)
                    return None
            name, why = self._bad[index]
            bad[name] = why
        return None


class GrowingRound:
    """A round whose pictures are decoded when their crops are needed.

    A run's first batch need not wait for all pictures of its round. The crops are those that
    `Crops` gives.
    """

    def __init__(self, crops: Crops, index: int) -> None:
        self._crops, self._index = crops, index
        lr = crops.new_crops(crops.lr_crop) if crops.lr_crop else None
        self._cut = BothSizes(crops.new_crops(crops.crop), lr)
        rng = np.random.default_rng((crops.seed, SHUFFLE, index))
        self._places = rng.permutation(crops.crops_per_round)
        # Which picture of the round each place gets its crop from.
        self._pictures = np.argsort(self._places) // crops.crops_per_picture
        self._done: set[int] = set()

    def with_crops(self, start: int, stop: int) -> Round:
        """The round, in which the crops from `start` up to `stop` are cut; others need not be."""
        bad: dict[str, str] = {}
        for position in np.unique(self._pictures[start:stop]).tolist():
            if position in self._done:
                continue
            if not self._cut_from(position, bad):
                return Round(torch.as_tensor(self._cut.hr[:0]), bad)
            self._done.add(position)
        lr = None if self._cut.lr is None else torch.as_tensor(self._cut.lr)
        return Round(torch.as_tensor(self._cut.hr), bad, lr=lr)

    def _cut_from(self, position: int, bad: dict[str, str]) -> bool:
        crops, each = self._crops, self._crops.crops_per_picture
        per_round = math.ceil(crops.crops_per_round / each)
        picture = crops.picture(self._index * per_round + position, bad)
        if picture is None:
            return False
        rng = np.random.default_rng((crops.seed, CROPS, self._index, position))
        places = self._places[position * each : (position + 1) * each]
        crops.cut(picture, rng, self._cut, places)
        return True


def _colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """Colours, (count, 3) uint8: each of R, G and B is none, full or anything, equally often."""
    values = rng.integers(256, size=(count, 3), dtype=np.uint8)
    kind = rng.integers(3, size=(count, 3))
    return np.where(kind == 0, 0, np.where(kind == 1, 255, values)).astype(np.uint8)


def _turned(window: np.ndarray, turn: int) -> np.ndarray:
    """One of the 8 ways to flip and rotate a picture, (H, W, bands)."""
    return np.rot90(window[::-1] if turn >= 4 else window, turn % 4)


def _detail(window: np.ndarray) -> float:
    """Mean difference between neighbouring pixels of gray, or of green."""
    gray = window.shape[2] == 1
    green = window[..., 0].astype(np.int32) if gray else window[..., 1].astype(np.int16)
    return np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean()
