"""Training on shards as they arrive over the network, for data larger than the disk.

Shards are read one after the other, in an order that the seed decides, each from its start. The
position within a shard is not saved, so a resumed run reads its shards again from their start.
Everything else is as in `srgan.training.data.crops`.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Unpack

import numpy as np
import torch
from torch.utils.data import IterableDataset

from srgan.pictures.images import PictureError
from srgan.pictures.stores import StoreError
from srgan.training.data.crops import (
    CROPS,
    SHUFFLE,
    Cutting,
    Round,
    Rounds,
    permutation,
    read_pixels,
    reason,
)
from srgan.training.data.pairs import BothSizes
from srgan.training.data.sources import ShardStream
from srgan.training.data.stored import DataError, StoredPicture

MOST_BAD = 1000  # unusable pictures in a row, before the run stops


class _Place(NamedTuple):
    """A picture and its place in an endless sequence of shards."""

    visit: int  # number of the shard in this sequence
    number: int  # of the picture in the shard
    picture: StoredPicture


class StreamedCrops(Rounds, IterableDataset[Round]):
    """Rounds of random crops from shards; of each lane in turn.

    Lane c of S visits the shards c, c + S, c + 2 S, ... of an endless order.

    Args:
        own: the lanes, among `lanes`, that rounds are made of.
        first: the visit that each lane starts with.
        cutting: see `Rounds`.
    """

    def __init__(
        self,
        shards: ShardStream,
        *,
        lanes: int,
        own: Sequence[int],
        first: int,
        **cutting: Unpack[Cutting],
    ) -> None:
        super().__init__(**cutting)
        self._shards, self._lanes, self._own, self._first = shards, lanes, own, first

    def __iter__(self) -> Iterator[Round]:
        sequences = [(lane, self._places(lane)) for lane in self._own]
        while True:
            for lane, places in sequences:
                yield self._round(lane, places)

    def _places(self, lane: int) -> Iterator[_Place]:
        count = self._shards.count
        for visit in itertools.count(self._first):
            epoch, place = divmod(visit * self._lanes + lane, count)
            shard = int(permutation(self.seed, epoch, count)[place])
            for number, picture in enumerate(self._shards.pictures(shard)):
                yield _Place(visit, number, picture)

    def _round(self, lane: int, places: Iterator[_Place]) -> Round:
        crops = self.new_crops(self.crop)
        bad: dict[str, str] = {}
        order: np.ndarray | None = None
        visit = self._first
        for first in range(0, len(crops), self.crops_per_picture):
            try:
                (visit, number, _), pixels = self._usable(places, bad)
            except (DataError, StoreError) as error:
                return Round(torch.as_tensor(crops[:0]), {"": str(error)}, visit)
            key = (self.seed, lane, visit, number)
            if order is None:
                order = np.random.default_rng((*key, SHUFFLE)).permutation(len(crops))
            rng = np.random.default_rng((*key, CROPS))
            part = order[first : first + self.crops_per_picture]
            self.cut(BothSizes(pixels), rng, BothSizes(crops), part)
        return Round(torch.as_tensor(crops), bad, visit)

    def _usable(self, places: Iterator[_Place], bad: dict[str, str]) -> tuple[_Place, np.ndarray]:
        for place in itertools.islice(places, MOST_BAD):
            try:
                return place, read_pixels(place.picture, at_least=self.crop, gray=self.gray)
            except PictureError as error:
                bad[str(place.picture)] = reason(error, place.picture)
        path, why = next(iter(bad.items()))
        raise DataError(f"{MOST_BAD} pictures in a row cannot be used: {path}: {why}")
