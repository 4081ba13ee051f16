"""What one process of a bulk job does: read, upscale, write, a few pictures at a time."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from srgan.cluster.plan import PARQUET, SourcePicture, is_parquet
from srgan.errors import one_line
from srgan.pictures.images import PictureError, output_format
from srgan.pictures.options import ResultOptions
from srgan.pictures.shards import Member, ParquetPictures, parquet_bytes
from srgan.pictures.stores import Store
from srgan.upscaling.auto import ModelChooser
from srgan.upscaling.batch import Upscaled, upscale_bytes

MOST_ATTEMPTS = 3  # at a picture whose worker dies of it
TRANSFERS = 4  # at a time: reading ahead and writing behind while the engine computes


class Outcome(NamedTuple):
    """Of one picture: `reason` says why it failed, None that its result is written."""

    name: str  # in the source
    target: str
    reason: str | None
    megapixels: float  # of the result


@dataclass(frozen=True)
class BulkJob:
    """What is done to each picture."""

    source: Store
    destination: Store
    models: ModelChooser
    result: ResultOptions
    max_pixels: int
    threads: int = 1  # of each worker, those of the engine left out
    column: str | None = None  # of pictures in parquet files


class Attempts(Protocol):
    """Knows what workers that have died had begun."""

    def begin(self, target: str) -> int:
        """How often the picture has been begun and not ended, this time included; 0 where it has
        been ended."""
        ...

    def end(self, target: str) -> None:
        """The picture is upscaled, or has failed; it may not be written yet."""
        ...

    def forget(self, targets: Sequence[str]) -> None:
        """A task is done: its results are written."""
        ...


class Worker:
    """An engine and its work.

    Args:
        attempts: by default a worker that dies is not replaced.
    """

    def __init__(self, job: BulkJob, attempts: Attempts | None = None) -> None:
        os.environ["VIPS_CONCURRENCY"] = str(job.threads)  # read as libvips is loaded
        self._job = job
        self._attempts = attempts
        job.models.upscaler()  # what cannot run here fails before any work
        self._parquet = is_parquet(job.destination)

    def upscale(self, pictures: Sequence[SourcePicture]) -> list[Outcome]:
        """Do the pictures of a task; what a worker that died had written is not done again.

        Raises:
            StoreError: a result cannot be written, which is no fault of a picture.
        """
        with ThreadPoolExecutor(TRANSFERS) as transfers:
            if self._parquet:
                outcomes = self._into_parquet(pictures, transfers)
            else:
                outcomes = self._into_files(pictures, transfers)
        if self._attempts is not None:
            self._attempts.forget([picture.target for picture in pictures])
        return outcomes

    def _into_files(
        self, pictures: Sequence[SourcePicture], transfers: ThreadPoolExecutor
    ) -> list[Outcome]:
        outcomes, writes = [], []
        for picture, data in self._read(pictures, transfers):
            outcome, result = self._try(picture, data)
            outcomes.append(outcome)
            if result is not None:
                write = self._job.destination.write
                writes.append(transfers.submit(write, picture.target, result))
        for write in writes:
            write.result()
        return outcomes

    def _into_parquet(
        self, pictures: Sequence[SourcePicture], transfers: ThreadPoolExecutor
    ) -> list[Outcome]:
        """One file a task, under a name that the same task always has."""
        done = [self._try(picture, data) for picture, data in self._read(pictures, transfers)]
        members = [Member(outcome.target, data) for outcome, data in done if data is not None]
        if members:
            key = "\0".join(picture.target for picture in pictures)
            name = f"part-{hashlib.sha256(key.encode()).hexdigest()[:16]}{PARQUET}"
            self._job.destination.write(name, parquet_bytes(members))
        return [outcome for outcome, _ in done]

    def _try(
        self, picture: SourcePicture, data: Callable[[], bytes]
    ) -> tuple[Outcome, bytes | None]:
        """The outcome of a picture and, if it is to be written, its result."""
        outcome = Outcome(picture.name, picture.target, None, 0.0)
        attempt = self._attempts.begin(picture.target) if self._attempts else 1
        if attempt > MOST_ATTEMPTS:
            name = self._job.source.full_name(picture.name)
            reason = f"{name}: {MOST_ATTEMPTS} workers died of it: is there enough memory?"
            return outcome._replace(reason=reason), None
        if attempt == 0 and self._was_written(picture):
            return outcome, None
        result: Upscaled | None = None
        try:
            result = self._upscale(picture, data())
        except Exception as error:
            outcome = outcome._replace(reason=self._reason(picture, error))
        if self._attempts:
            self._attempts.end(picture.target)
        if result is None:
            return outcome, None
        height, width = result.size
        return outcome._replace(megapixels=height * width / 1e6), result.data

    def _was_written(self, picture: SourcePicture) -> bool:
        """By a worker that died; never so with --overwrite, where older results may be there."""
        if self._parquet or self._job.result.overwrite:
            return False
        return self._job.destination.exists(picture.target)

    def _upscale(self, picture: SourcePicture, data: bytes) -> Upscaled:
        return upscale_bytes(
            data,
            self._job.models,
            self._job.result,
            format=output_format(picture.target),
            name=self._job.source.full_name(picture.name),
            max_pixels=self._job.max_pixels,
        )

    def _reason(self, picture: SourcePicture, error: Exception) -> str:
        name, reason = self._job.source.full_name(picture.name), one_line(error)
        return reason if name in reason else f"{name}: {reason}"

    def _read(
        self, pictures: Sequence[SourcePicture], transfers: ThreadPoolExecutor
    ) -> Iterator[tuple[SourcePicture, Callable[[], bytes]]]:
        """Each picture, and what gives its bytes or raises PictureError."""
        store, (file, group, row, _) = self._job.source, pictures[0]
        if row < 0:
            reads = [transfers.submit(store.read, picture.file) for picture in pictures]
            for picture, read in zip(pictures, reads, strict=True):
                yield picture, read.result
            return
        rows = [picture.row for picture in pictures]
        whole = transfers.submit(self._read_rows, file, group, rows)
        for index, picture in enumerate(pictures):
            yield picture, lambda index=index: whole.result()[index]

    def _read_rows(self, file: str, group: int, rows: Sequence[int]) -> list[bytes]:
        try:
            parquet = ParquetPictures(self._job.source.open(file), self._job.column)
            return list(parquet.read(group, rows))
        except Exception as error:
            name, reason = self._job.source.full_name(file), " ".join(str(error).split())
            raise PictureError(f"{name}: it cannot be read ({reason})") from error
