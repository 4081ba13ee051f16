"""Batches of crops, decoded ahead by worker processes."""

import functools
import itertools
import logging
import math
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from srgan.engines.processor import usable_cores
from srgan.training.data.crops import Crops, Cutting, GrowingRound, Round
from srgan.training.data.pairs import Pairs
from srgan.training.data.sources import ShardStream
from srgan.training.data.stored import DataError, Pictures
from srgan.training.data.streams import StreamedCrops
from srgan.training.data.workers import signals_blocked, start_worker, wait_for_close

log = logging.getLogger("srgan")


def open_loader(
    pictures: Pictures | ShardStream,
    *,
    lanes: int = 1,
    own: Sequence[int] = (0,),
    workers: int | None = None,
    first_batch: int = 0,
    first_shard: int = 0,
    pairs: Pairs | None = None,
    **cutting: Unpack[Cutting],
) -> "CropLoader":
    """Start to load this process's batches.

    Batches come from `lanes`, sequences of rounds: lane c of S has the rounds c, c + S,
    c + 2 S, ... A batch joins one micro-batch from each of this process's own lanes. So two
    processes see the same crops as one process that accumulates two micro-batches.

    Args:
        lanes: number of processes times the micro-batches that each of them accumulates.
        own: the lanes of this process.
        workers: processes that decode. 0: this process decodes. None: one for 4 usable cores, 1
            to 8. A `ShardStream` has at most one, since its shards are read one at a time.
        first_batch: batches that earlier parts of the run have seen. A `ShardStream` ignores it.
        first_shard: for a `ShardStream`, the visit of a shard that each lane begins with.
        pairs: the LR files of the pictures, if there are any; not for a `ShardStream`.
        cutting: see `Rounds`; `batch_size` is that of a micro-batch.

    Raises:
        DataError: there are no pictures; while iterating: no picture can be used.
    """
    if isinstance(pictures, ShardStream):
        streamed = StreamedCrops(pictures, lanes=lanes, own=own, first=first_shard, **cutting)
        workers = 1 if workers is None else min(workers, 1)
        return CropLoader(streamed, None, cutting["batch_size"], len(own), workers)
    crops = Crops(pictures, pairs=pairs, **cutting)
    first, skipped = divmod(first_batch, crops.batches_per_round)
    numbers = (number * lanes + c for number in itertools.count(first) for c in own)
    if workers is None:
        workers = min(max(usable_cores() // 4, 1), 8)
    return CropLoader(crops, numbers, cutting["batch_size"], len(own), workers, skipped)


class CropBatch(NamedTuple):
    """Crops of a batch in channels_last memory: N x 3, RGB uint8, or N x 1, gray uint16.

    Attributes:
        hr: N x C x crop x crop.
        lr: of pairs, N x C x crop / scale x crop / scale.
    """

    hr: Tensor
    lr: Tensor | None


class CropLoader:
    """Endless batches of crops.

    Iterating yields `CropBatch`es of lanes * batch_size crops, and raises DataError if no picture
    can be used.

    Args:
        dataset: makes the rounds.
        numbers: of the rounds to make; None if the dataset is read from start to end.
        batch_size: crops in a micro-batch.
        lanes: micro-batches that are joined in a batch, each from a round of its own.
        workers: processes that decode; 0 for this process.
        skipped: batches of the first rounds that are not yielded.

    Attributes:
        shard: the shard of the round in use; see `Round`.
    """

    def __init__(
        self,
        dataset: Crops | StreamedCrops,
        numbers: Iterator[int] | None,
        batch_size: int,
        lanes: int,
        workers: int,
        skipped: int = 0,
    ) -> None:
        self.shard = 0
        self._dataset = dataset
        self._warned: set[str] = set()
        self._lifeline: Connection | None = None
        self._at_exit: Finalize | None = None
        self._rounds: Iterator[Round]
        self._first: list[GrowingRound] = []
        if isinstance(dataset, Crops) and numbers is not None:
            # This process cuts the first rounds, batch by batch, while workers make the next ones.
            self._first = [GrowingRound(dataset, next(numbers)) for _ in range(lanes)]
        if workers > 0:
            self._rounds = self._start_workers(numbers, workers, lanes)
        elif isinstance(dataset, StreamedCrops):
            self._rounds = iter(dataset)
        else:
            self._rounds = map(dataset.__getitem__, numbers or ())
        self._batches = self._read(batch_size, lanes, skipped)

    def __iter__(self) -> Iterator[CropBatch]:
        """The batches that were not yielded yet: a second loop continues where the first ended."""
        return self._batches

    def close(self) -> None:
        """End the worker processes at once."""
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        if self._at_exit is not None:
            self._at_exit.cancel()
            self._at_exit = None
        self._rounds = iter(())
        self._first.clear()

    def _start_workers(
        self, numbers: Iterator[int] | None, workers: int, lanes: int
    ) -> Iterator[Round]:
        """Have `workers` processes make a round of each lane ahead."""
        context = multiprocessing.get_context("spawn")
        workers_end, self._lifeline = context.Pipe(duplex=False)
        ahead = math.ceil(lanes / workers)
        rounds = ahead * workers + 2 * lanes  # on their way or in use
        shared = _fits_shared_memory(rounds * self._dataset.round_bytes)
        # Tensors go through shared memory; arrays through a pipe, at about 0.03 ms a crop.
        collate: Any = _as_is if shared else _with_array
        loader: DataLoader[Round] = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            prefetch_factor=ahead,
            multiprocessing_context=context,
            worker_init_fn=functools.partial(_start_worker, workers_end),
            collate_fn=collate,
        )
        with signals_blocked():
            made: Iterator[Round] = iter(loader)
        workers_end.close()
        # At the end of the process, before multiprocessing joins the workers. Unlike atexit's,
        # this runs also in a process that multiprocessing has started.
        self._at_exit = Finalize(None, self.close, exitpriority=10)
        return made

    def _read(self, batch_size: int, lanes: int, skipped: int) -> Iterator[CropBatch]:
        end = self._dataset.batches_per_round * batch_size
        while True:
            rounds = [self._next_round() for _ in range(lanes)]
            for first in range(skipped * batch_size, end, batch_size):
                parts = [crops(first, first + batch_size) for crops in rounds]
                smaller = [part.lr for part in parts if part.lr is not None]
                hr = _joined([part.hr for part in parts])
                yield CropBatch(hr, _joined(smaller) if smaller else None)
            skipped = 0

    def _next_round(self) -> Callable[[int, int], CropBatch]:
        """The next round's crops, from one place up to another."""
        if self._first:
            growing = self._first.pop(0)
            return lambda start, stop: _part(
                self._checked(growing.with_crops(start, stop)), start, stop
            )
        crops = self._checked(next(self._rounds))
        return lambda start, stop: _part(crops, start, stop)

    def _checked(self, made: Round) -> CropBatch:
        """A round's crops, (n, crop, crop, C)."""
        crops, unusable, self.shard, lr = made
        if not len(crops):
            name, why = next(iter(unusable.items()))
            if not name or not isinstance(self._dataset, Crops):
                raise DataError(why)
            count = len(self._dataset.pictures)
            raise DataError(f"none of the {count} pictures can be used: {name}: {why}")
        for name, why in unusable.items():
            if name not in self._warned:
                log.warning("%s: %s; skipped", name, why)
                self._warned.add(name)
        return CropBatch(torch.as_tensor(crops), None if lr is None else torch.as_tensor(lr))


def _part(crops: CropBatch, start: int, stop: int) -> CropBatch:
    return CropBatch(crops.hr[start:stop], None if crops.lr is None else crops.lr[start:stop])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Crops (n, H, W, C) of some lanes as one batch, N x C x H x W."""
    batch = parts[0] if len(parts) == 1 else torch.cat(list(parts))
    return batch.permute(0, 3, 1, 2)


def _start_worker(lifeline: Connection, _worker: int) -> None:
    start_worker(functools.partial(wait_for_close, lifeline))


def _fits_shared_memory(size: int) -> bool:
    """Whether tensors of `size` bytes can go through shared memory, which is small in containers.

    Asks for four times as much, since other processes do the same.
    """
    try:
        return 4 * size < shutil.disk_usage("/dev/shm").free
    except OSError:  # not Linux: there is no such limit
        return True


def _as_is(item: Round) -> Round:
    return item


def _with_array(item: Round) -> tuple[np.ndarray, dict[str, str], int, np.ndarray | None]:
    lr = None if item.lr is None else item.lr.numpy()
    return item.crops.numpy(), item.unusable, item.shard, lr
