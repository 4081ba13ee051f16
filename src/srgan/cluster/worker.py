"""One process of a bulk job: it reads, upscales and writes a few pictures at a time."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from srgan.cluster.plan import PARQUET, SourcePicture, is_parquet
from srgan.errors import UserError, one_line, reason_of
from srgan.pictures.images import PictureError, output_format
from srgan.pictures.options import ResultOptions
from srgan.pictures.shards import Member, ParquetPictures, parquet_bytes
from srgan.pictures.stores import Store
from srgan.upscaling.auto import ModelChooser
from srgan.upscaling.batch import Upscaled, upscale_bytes

MOST_ATTEMPTS = 3  # at a picture that kills its workers
TRANSFERS = 4  # reads and writes at the same time, while the engine computes

ReadBytes = Callable[[], bytes]  # waits for a picture file's bytes; raises PictureError


class Outcome(NamedTuple):
    """The outcome of one picture: its result is written, or it failed."""

    name: str  # in the source
    target: str  # name of the result
    reason: str | None  # why the picture failed; None if its result is written
    megapixels: float  # of the result


@dataclass(frozen=True)
class BulkJob:
    """A job: where pictures come from and go to, and how each is upscaled.

    Attributes:
        source: pictures, or parquet files of pictures.
        destination: the results.
        models: chooses the model for each picture.
        result: size and format of the results.
        max_pixels: larger pictures fail.
        threads: libvips' threads in each worker, for decoding and encoding.
        column: column of the pictures in parquet files; by default the only one.
        run: part of the names of parquet files that a run shall not share with others.
    """

    source: Store
    destination: Store
    models: ModelChooser
    result: ResultOptions
    max_pixels: int
    threads: int = 1
    column: str | None = None
    run: str = ""


class Attempts(Protocol):
    """Counts the attempts at each picture, so that one that kills its workers is given up.

    It must outlive the workers. Pictures are named by their target.
    """

    def begin(self, target: str) -> int:
        """Note that a worker begins a picture.

        Returns:
            The number of attempts that began and did not end, this one included; 0 if an
            earlier attempt ended.
        """
        ...

    def end(self, target: str) -> None:
        """Note that a picture is upscaled, or has failed. Its result may not be written yet."""
        ...

    def forget(self, targets: Sequence[str]) -> None:
        """Forget the pictures of a task: all results are written."""
        ...


class Worker:
    """Upscales the pictures of a job's tasks, one after the other, on one engine."""

    def __init__(self, job: BulkJob, attempts: Attempts | None = None) -> None:
        """Build the engine, so that an unsupported one fails before any work.

        Args:
            attempts: None if nobody replaces a worker that dies.
        """
        os.environ["VIPS_CONCURRENCY"] = str(job.threads)  # libvips reads it when it is loaded
        self._job = job
        self._attempts = attempts
        job.models.upscaler()
        self._parquet = is_parquet(job.destination)

    def upscale(self, pictures: Sequence[SourcePicture]) -> list[Outcome]:
        """Upscale the pictures of a task, and write their results.

        Results that an earlier worker wrote before it died are kept. A picture whose result
        cannot have its name fails alone.

        Raises:
            StoreError: a result cannot be written; this ends the job.
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
        """Write each result as a file, while the next picture is upscaled."""
        outcomes: list[Outcome] = []
        writes: dict[int, Future[None]] = {}
        for index, (picture, read) in enumerate(self._read(pictures, transfers)):
            outcome, result = self._try(picture, read)
            outcomes.append(outcome)
            if result is not None:
                write = self._job.destination.write
                writes[index] = transfers.submit(write, picture.target, result)
        for index, written in writes.items():
            try:
                written.result()
            except PictureError as error:
                reason = self._reason(pictures[index], error)
                outcomes[index] = outcomes[index]._replace(reason=reason, megapixels=0.0)
        return outcomes

    def _into_parquet(
        self, pictures: Sequence[SourcePicture], transfers: ThreadPoolExecutor
    ) -> list[Outcome]:
        """Write the results of the task as one file. The same task of a run has the same name."""
        done = [self._try(picture, read) for picture, read in self._read(pictures, transfers)]
        members = [Member(outcome.target, data) for outcome, data in done if data is not None]
        if members:
            key = "\0".join([self._job.run, *(picture.target for picture in pictures)])
            name = f"part-{hashlib.sha256(key.encode()).hexdigest()[:16]}{PARQUET}"
            self._job.destination.write(name, parquet_bytes(members))
        return [outcome for outcome, _ in done]

    def _try(self, picture: SourcePicture, read: ReadBytes) -> tuple[Outcome, bytes | None]:
        """Upscale a picture: its outcome, and its result unless it failed or is written already."""
        outcome = Outcome(picture.name, picture.target, None, 0.0)
        attempt = self._attempts.begin(picture.target) if self._attempts else 1
        if attempt > MOST_ATTEMPTS:
            name = self._job.source.full_name(picture.name)
            reason = f"{name}: it killed {MOST_ATTEMPTS} workers: is there enough memory?"
            return outcome._replace(reason=reason), None
        if attempt == 0 and self._was_written(picture):
            return outcome, None
        result: Upscaled | None = None
        try:
            result = self._upscale(picture, read())
        except Exception as error:
            outcome = outcome._replace(reason=self._reason(picture, error))
        if self._attempts:
            self._attempts.end(picture.target)
        if result is None:
            return outcome, None
        height, width = result.size
        return outcome._replace(megapixels=height * width / 1e6), result.data

    def _was_written(self, picture: SourcePicture) -> bool:
        """Whether a worker that died wrote the result; with --overwrite it may be an older one."""
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
    ) -> Iterator[tuple[SourcePicture, ReadBytes]]:
        """Start reading all pictures of a task; yield each with its bytes to come."""
        first = pictures[0]
        if first.row < 0:
            read = self._job.source.read
            reads = [transfers.submit(read, picture.file) for picture in pictures]
            for picture, data in zip(pictures, reads, strict=True):
                yield picture, data.result
            return
        rows = [picture.row for picture in pictures]  # of one row group; see `tasks`
        group = transfers.submit(self._read_rows, first.file, first.group, rows)
        for index, picture in enumerate(pictures):
            yield picture, lambda index=index: group.result()[index]

    def _read_rows(self, file: str, group: int, rows: Sequence[int]) -> list[bytes]:
        try:
            parquet = ParquetPictures(self._job.source.open(file), self._job.column)
            return list(parquet.read(group, rows))
        except UserError:
            raise
        except Exception as error:
            name, reason = self._job.source.full_name(file), reason_of(error)
            raise PictureError(f"{name}: it cannot be read ({reason})") from error
