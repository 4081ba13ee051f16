"""HR crops for training, cut from pictures.

Which crops a run sees is a pure function of its files, their order, the crop, the batch size and
the seed: the number of worker processes changes nothing, and a run that is resumed goes on with
the crops it would have seen. The unit of work is a round of some 2048 crops: many crops are cut
of each picture that is decoded, and a round's crops are shuffled.
"""

import atexit
import functools
import itertools
import logging
import math
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from srgan.pictures.images import PictureError
from srgan.pictures.pixels import rgb_uint8
from srgan.pictures.stores import StoreError
from srgan.training.data.stored import (
    DataError,
    Pictures,
    Selected,
    StoredPicture,
    StoredPictures,
    open_training_picture,
)
from srgan.training.data.workers import signals_blocked, start_worker, wait_for_close

CROPS_PER_PICTURE = 16
CROPS_PER_ROUND = 2048

# What a generator of random numbers is for, beside the run's seed.
ORDER, CROPS, SHUFFLE, SPLIT = range(4)

log = logging.getLogger("srgan")


def split(pictures: Pictures, count: int, seed: int) -> tuple[Pictures, Pictures]:
    """Hold out `count` pictures, at most half of them: (training, validation), in their order."""
    order = np.random.default_rng((seed, SPLIT)).permutation(len(pictures))
    held_out = np.sort(order[: min(count, len(pictures) // 2)])
    validation = [pictures[int(index)] for index in held_out]
    indices = np.delete(np.arange(len(pictures)), held_out)
    if isinstance(pictures, StoredPictures):
        return Selected(pictures, indices), validation
    return [pictures[int(index)] for index in indices], validation


@functools.lru_cache(maxsize=2)  # a round may end in the next epoch
def permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, ORDER, epoch)).permutation(count)


def read_rgb(source: Path | StoredPicture, at_least: int) -> np.ndarray:
    """A picture as (H, W, 3) uint8, upright: gray repeated, alpha dropped, 16 bits rounded to 8.

    Raises:
        PictureError: it is damaged, or a side is shorter than `at_least` pixels.
    """
    picture = open_training_picture(source)
    height, width, _ = picture.shape
    if min(height, width) < at_least:
        raise PictureError(f"{source}: {width} x {height} pixels, less than a crop of {at_least}")
    return rgb_uint8(picture[:, :])


def reason(error: PictureError, picture: object) -> str:
    """What an error says, without the file's name and an option that training has not."""
    return str(error).removeprefix(f"{picture}: ").removesuffix(": raise it with --max-pixels")


class Rounds:
    """How large rounds of crops are.

    Args:
        crop: side of the crops in pixels.
        candidates: random places for each crop, of which the one with the most detail is taken.
        batch_size: crops a (micro-)batch; a round is whole batches.
    """

    def __init__(self, *, crop: int, batch_size: int, seed: int, candidates: int = 1) -> None:
        self.crop = crop
        self.candidates = candidates
        self.seed = seed
        self.batches_per_round = max(1, CROPS_PER_ROUND // batch_size)
        self.crops_per_round = self.batches_per_round * batch_size
        self.crops_per_picture = CROPS_PER_PICTURE
        self.round_bytes = self.crops_per_round * crop * crop * 3


class Crops(Rounds, Dataset[tuple[Tensor, dict[str, str]]]):
    """Rounds of random crops, by their numbers; each number always gives the same crops.

    Pictures are taken in an endless order: all of them shuffled, then all of them shuffled
    again, and so on. Crops are at uniform places, flipped and turned in one of 8 ways. In the
    place of a picture that cannot be read or is smaller than a crop comes the next in the order.
    """

    def __init__(
        self, pictures: Pictures, *, crop: int, batch_size: int, seed: int, candidates: int = 1
    ) -> None:
        if not pictures:
            raise DataError("there are no pictures to train on: give another folder")
        super().__init__(crop=crop, batch_size=batch_size, seed=seed, candidates=candidates)
        self.pictures = pictures  # goes to each worker once
        self._bad: dict[int, tuple[str, str]] = {}  # why, by index

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, str]]:
        """Round `index`: uint8 crops, n x crop x crop x 3 RGB, and why files were passed over.

        Where no picture can be used there are no crops: n is 0. Nor are there where a store fails,
        which is no fault of a picture's: what failed is then the reason of "".
        """
        crops = np.empty((self.crops_per_round, self.crop, self.crop, 3), np.uint8)
        places = np.random.default_rng((self.seed, SHUFFLE, index)).permutation(len(crops))
        pictures = math.ceil(len(crops) / self.crops_per_picture)
        bad: dict[str, str] = {}
        for position in range(pictures):
            picture = self._picture(index * pictures + position, bad)
            if picture is None:
                return torch.from_numpy(crops[:0]), bad
            rng = np.random.default_rng((self.seed, CROPS, index, position))
            first = position * self.crops_per_picture
            cut_crops(
                picture, rng, crops, places[first : first + self.crops_per_picture], self.candidates
            )
        return torch.from_numpy(crops), bad

    def _picture(self, position: int, bad: dict[str, str]) -> np.ndarray | None:
        """The first picture of the endless order from `position` on that can be used."""
        count = len(self.pictures)
        for step in range(position, position + 2 * count):  # all pictures are among these
            epoch, place = divmod(step, count)
            index = int(permutation(self.seed, epoch, count)[place])
            if index not in self._bad:
                picture = self.pictures[index]
                try:
                    return read_rgb(picture, at_least=self.crop)
                except PictureError as error:
                    self._bad[index] = str(picture), reason(error, picture)
                except StoreError as error:
                    bad.clear()
                    bad[""] = str(error)
                    return None
            name, why = self._bad[index]
            bad[name] = why
        return None


def cut_crops(
    picture: np.ndarray,
    rng: np.random.Generator,
    crops: np.ndarray,
    places: np.ndarray,
    candidates: int,
) -> None:
    """Fill `places` of `crops`, (n, crop, crop, 3), with random crops of `picture`."""
    height, width, _ = picture.shape
    crop = crops.shape[1]
    tops = rng.integers(height - crop + 1, size=(len(places), candidates))
    lefts = rng.integers(width - crop + 1, size=(len(places), candidates))
    turns = rng.integers(8, size=len(places))
    for place, *corners, turn in zip(places, tops, lefts, turns, strict=True):
        windows = [
            picture[top : top + crop, left : left + crop]
            for top, left in zip(*corners, strict=True)
        ]
        window = max(windows, key=_detail) if candidates > 1 else windows[0]
        crops[place] = np.rot90(window[::-1] if turn >= 4 else window, turn % 4)


def _detail(window: np.ndarray) -> float:
    """Mean difference of neighbours' green in (H, W, 3) uint8."""
    green = window[..., 1].astype(np.int16)
    return np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean()


class CropLoader:
    """Endless batches of crops, decoded ahead by worker processes.

    Iterating yields uint8 RGB, (len(own) * batch_size) x 3 x crop x crop in channels_last
    memory. Batches go through `streams` sequences of rounds: stream c of S has the rounds c,
    c + S, c + 2 S, ... A process yields the micro-batches of its `own` streams one after the
    other in one batch, so that two processes see what one does that accumulates two.

    Args:
        crop: side of the crops in pixels.
        batch_size: crops a micro-batch.
        candidates: as of `Rounds`.
        streams: processes times micro-batches that each of them accumulates.
        own: the streams of this process.
        workers: processes that decode; 0 is this process, None one for 4 cores, 1 to 8.
        first_batch: how many batches an earlier part of the run has seen.

    Raises:
        DataError: there are no files; in iterating: no file can be used.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        crop: int,
        batch_size: int,
        seed: int,
        candidates: int = 1,
        streams: int = 1,
        own: Sequence[int] = (0,),
        workers: int | None = None,
        first_batch: int = 0,
    ) -> None:
        dataset = Crops(
            pictures, crop=crop, batch_size=batch_size, seed=seed, candidates=candidates
        )
        if workers is None:
            workers = min(max((os.cpu_count() or 1) // 4, 1), 8)
        first, skipped = divmod(first_batch, dataset.batches_per_round)
        numbers = (number * streams + c for number in itertools.count(first) for c in own)
        self._pictures = f"{len(pictures)} pictures"
        self._start(dataset, numbers, workers, len(own))
        self._batches = self._read(dataset.batches_per_round, batch_size, len(own), skipped)

    def _start(
        self, dataset: Any, numbers: Iterator[int] | None, workers: int, streams: int
    ) -> None:
        """Make rounds, by their numbers where the dataset has any, ahead in worker processes."""
        self.shard = 0  # of the round in use, where a stream is read; see streams.py
        self._warned: set[str] = set()
        self._lifeline: Connection | None = None
        self._rounds: Iterator[Any]
        if workers > 0:
            self._start_workers(dataset, numbers, workers, streams)
        else:
            self._rounds = iter(dataset) if numbers is None else map(dataset.__getitem__, numbers)

    def __iter__(self) -> Iterator[Tensor]:
        """The batches that were not yielded yet: a second loop goes on where the first ended."""
        return self._batches

    def close(self) -> None:
        """End the worker processes at once."""
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
            atexit.unregister(self.close)
        self._rounds = iter(())

    def _start_workers(
        self, dataset: Any, numbers: Iterator[int] | None, workers: int, streams: int
    ) -> None:
        """Have `workers` processes make a round of each stream ahead."""
        context = multiprocessing.get_context("spawn")
        workers_end, self._lifeline = context.Pipe(duplex=False)
        ahead = math.ceil(streams / workers)
        rounds = ahead * workers + 2 * streams  # on their way or in use
        loader = DataLoader(
            dataset,
            batch_size=None,
            sampler=numbers,
            num_workers=workers,
            prefetch_factor=ahead,
            multiprocessing_context=context,
            worker_init_fn=functools.partial(_start_worker, workers_end),
            collate_fn=_as_is if _fits_shared_memory(rounds * dataset.round_bytes) else _as_array,
        )
        with signals_blocked():
            self._rounds = iter(loader)
        workers_end.close()
        atexit.register(self.close)

    def _read(self, batches: int, batch_size: int, streams: int, skipped: int) -> Iterator[Tensor]:
        while True:
            rounds = [self._next_round() for _ in range(streams)]
            for first in range(skipped * batch_size, batches * batch_size, batch_size):
                parts = [crops[first : first + batch_size] for crops in rounds]
                batch = parts[0] if len(parts) == 1 else torch.cat(parts)
                yield batch.permute(0, 3, 1, 2)
            skipped = 0

    def _next_round(self) -> Tensor:
        crops, bad, *shard = next(self._rounds)
        self.shard = shard[0] if shard else 0
        if not len(crops):
            path, why = next(iter(bad.items()))
            if not path:
                raise DataError(why)
            raise DataError(f"none of the {self._pictures} can be used: {path}: {why}")
        for path, why in bad.items():
            if path not in self._warned:
                log.warning("%s: %s; skipped", path, why)
                self._warned.add(path)
        return torch.as_tensor(crops)


def _start_worker(lifeline: Connection, _worker: int) -> None:
    start_worker(functools.partial(wait_for_close, lifeline))


def _fits_shared_memory(size: int) -> bool:
    """Whether tensors of `size` bytes can go through shared memory, of which containers have
    little; four times as much is asked for, since other processes do the same."""
    try:
        return 4 * size < shutil.disk_usage("/dev/shm").free
    except OSError:  # no Linux, no such limit
        return True


def _as_is(item: Any) -> Any:
    return item


def _as_array(item: Any) -> Any:
    """Arrays go through a pipe, at some 0.03 ms a crop; tensors through shared memory."""
    return item[0].numpy(), *item[1:]
