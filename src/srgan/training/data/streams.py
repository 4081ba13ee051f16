"""Training on shards as they come over the network, for data that no disk here can hold.

Shards are read one after the other, in an order that the seed decides, and each from its start:
which picture of a shard a run has come to is not known afterwards, so a run that is resumed
begins its shards again. All else is as in `srgan.training.data.crops`.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from srgan.pictures.images import PictureError
from srgan.pictures.stores import StoreError
from srgan.training.data.crops import (
    CROPS,
    SHUFFLE,
    CropLoader,
    Rounds,
    cut_crops,
    permutation,
    read_rgb,
    reason,
)
from srgan.training.data.sources import ShardStream
from srgan.training.data.stored import DataError, Pictures, StoredPicture

MOST_BAD = 1000  # pictures passed over in a row

Round = tuple[Tensor, dict[str, str], int]


class _Place(NamedTuple):
    """A picture, and where it is in an endless sequence of shards."""

    visit: int  # of a shard, by this sequence
    number: int  # of the picture in the shard
    picture: StoredPicture


class StreamedCrops(Rounds, IterableDataset[Round]):
    """Rounds of random crops, and the visit of a shard that each ends in.

    Stream c of S visits the shards c, c + S, c + 2 S, ... of an endless order.

    Args:
        first: the visit that each stream starts with.
        size: as of `Rounds`.
    """

    def __init__(
        self, shards: ShardStream, *, streams: int, own: Sequence[int], first: int, **size: int
    ) -> None:
        super().__init__(**size)
        self._shards, self._streams, self._own, self._first = shards, streams, own, first

    def __iter__(self) -> Iterator[Round]:
        sequences = [(stream, self._places(stream)) for stream in self._own]
        while True:
            for stream, places in sequences:
                yield self._round(stream, places)

    def _places(self, stream: int) -> Iterator[_Place]:
        count = self._shards.count
        for visit in itertools.count(self._first):
            epoch, place = divmod(visit * self._streams + stream, count)
            shard = int(permutation(self.seed, epoch, count)[place])
            for number, picture in enumerate(self._shards.pictures(shard)):
                yield _Place(visit, number, picture)

    def _round(self, stream: int, places: Iterator[_Place]) -> Round:
        crops = np.empty((self.crops_per_round, self.crop, self.crop, 3), np.uint8)
        bad: dict[str, str] = {}
        order: np.ndarray | None = None
        visit = self._first
        for first in range(0, len(crops), self.crops_per_picture):
            try:
                (visit, number, _), pixels = self._usable(places, bad)
            except (DataError, StoreError) as error:
                return torch.from_numpy(crops[:0]), {"": str(error)}, visit
            key = (self.seed, stream, visit, number)
            if order is None:
                order = np.random.default_rng((*key, SHUFFLE)).permutation(len(crops))
            rng = np.random.default_rng((*key, CROPS))
            cut_crops(
                pixels, rng, crops, order[first : first + self.crops_per_picture], self.candidates
            )
        return torch.from_numpy(crops), bad, visit

    def _usable(self, places: Iterator[_Place], bad: dict[str, str]) -> tuple[_Place, np.ndarray]:
        for place in itertools.islice(places, MOST_BAD):
            try:
                return place, read_rgb(place.picture, at_least=self.crop)
            except PictureError as error:
                bad[str(place.picture)] = reason(error, place.picture)
        path, why = next(iter(bad.items()))
        raise DataError(f"{MOST_BAD} pictures in a row cannot be used: {path}: {why}")


class StreamLoader(CropLoader):
    """As `CropLoader`, on a stream; `shard` is what a resumed run goes on from.

    Args:
        workers: 0 or 1 process that decodes; shards are read one at a time.
        first_shard: the visit of a shard that each sequence begins with.
        size: as of `Rounds`.
    """

    def __init__(
        self,
        shards: ShardStream,
        *,
        streams: int = 1,
        own: Sequence[int] = (0,),
        workers: int | None = None,
        first_shard: int = 0,
        **size: int,
    ) -> None:
        dataset = StreamedCrops(shards, streams=streams, own=own, first=first_shard, **size)
        self._start(dataset, None, 1 if workers is None else min(workers, 1), len(own))
        self._batches = self._read(dataset.batches_per_round, size["batch_size"], len(own), 0)


def open_loader(
    pictures: Pictures | ShardStream, *, first_batch: int, first_shard: int, **options: Any
) -> CropLoader:
    """The loader for these pictures; options as of both loaders."""
    if isinstance(pictures, ShardStream):
        return StreamLoader(pictures, first_shard=first_shard, **options)
    return CropLoader(pictures, first_batch=first_batch, **options)
