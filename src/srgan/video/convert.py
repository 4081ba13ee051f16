"""Upscales a video file: decodes, computes and encodes at the same time, in finished parts."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np

from srgan.pictures.files import new_file
from srgan.pictures.parts import temporary_beside
from srgan.video.container import VideoError
from srgan.video.encoder import Encoder, Encoding
from srgan.video.facts import Facts
from srgan.video.join import Cut, join
from srgan.video.options import VideoOptions
from srgan.video.parts import PartsFolder
from srgan.video.source import Frame, frames_of
from srgan.video.threads import Sink, read_ahead

_AHEAD = 2  # frames between two threads

Compute = Callable[[np.ndarray], np.ndarray]  # a frame (H, W, 3) to the network's result
Finish = Callable[[np.ndarray, np.ndarray], np.ndarray]  # frame, network's result: what is stored


@dataclass
class VideoProgress:
    """How far a job is.

    Attributes:
        total: frames of the result; an estimate for a part of a video.
        earlier: frames that an earlier run has done.
        frames: encoded frames, of this run.
        seconds: since this run began.
        bytes: of the finished parts.
    """

    total: int
    earlier: int = 0
    frames: int = 0
    bytes: int = 0
    _start: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    @property
    def rate(self) -> float:
        """Frames a second, of this run."""
        return self.frames / self.seconds if self.frames else 0.0

    @property
    def left(self) -> float | None:
        """Seconds left; None as long as it cannot be told."""
        missing = max(self.total - self.earlier - self.frames, 0)
        return missing / self.rate if self.frames else None


@dataclass(frozen=True)
class VideoJob:
    """One video to upscale.

    Attributes:
        source: the video file.
        facts: about it.
        target: the result's file.
        encoding: of the result.
        options: which part of the video.
        identity: what else decides about the result, such as the model, for resuming.
    """

    source: Path
    facts: Facts
    target: Path
    encoding: Encoding
    options: VideoOptions
    identity: dict[str, object]

    @property
    def parts_folder(self) -> PartsFolder:
        """Where its finished parts lie until it is done."""
        return PartsFolder(self.target, self.encoding.suffix)

    @property
    def total(self) -> int:
        """How many frames there will be, about."""
        if not self.options.cut:
            return self.facts.frames
        last = min(self.options.last or self.facts.end, self.facts.end)
        count = max(round(float(last - self.options.first) * self.facts.rate), 1)
        return min(count, self.options.frames or count)


def run(
    job: VideoJob,
    compute: Compute,
    finish: Finish,
    report: Callable[[VideoProgress], None],
    *,
    resume: bool = False,
) -> list[str]:
    """Upscale a video into a file.

    Args:
        compute: upscales one frame; called in the order of the frames.
        finish: makes of a frame and its result what is stored; called in the same order, while
            the next frame is computed.
        report: called after each encoded frame, in another thread.
        resume: use the parts that a stopped run left.

    Returns:
        Notes for the user on what the result does not hold.

    Raises:
        OptionError: there are parts of another run.
        VideoError: the video is damaged, or the result cannot be written. Finished parts stay.
    """
    folder = job.parts_folder
    with new_file(job.target, job.options.overwrite) as temporary:
        notes = _rehearse(job, temporary)
        overwrite = job.options.overwrite
        last_done = folder.begin(_description(job), resume=resume, overwrite=overwrite)
        frames = _Frames(job, last_done)
        try:
            _encode(frames, compute, finish, folder, report)
        finally:
            if not folder.parts:
                folder.remove()
        if not folder.parts:
            raise no_frame(job)
        join(folder.parts, job.source, job.facts, temporary, job.target, frames.cut)
    folder.remove()
    return notes


def no_frame(job: VideoJob) -> VideoError:
    """The error for a video that ends before the part that is asked for."""
    first = float(job.options.first)
    ends = f"it ends at {job.facts.end:.1f}"
    return VideoError(f"{job.source}: no frame comes after {first:g} seconds: {ends}")


def _description(job: VideoJob) -> dict[str, object]:
    """What decides about the frames of a result."""
    height, width = job.encoding.size
    return {
        "a video": f"{job.source.name} of {job.source.stat().st_size} bytes",
        "size": f"{width} x {height}",
        "codec": job.encoding.codec,
        "--crf": job.encoding.options.get("crf"),
        "--preset": job.encoding.options.get("preset"),
        "--from": job.options.start,
        "--to": job.options.end,
        "--frames": job.options.frames,
        "--steady": job.options.steady,
        "av": version("av"),
        **job.identity,
    }


def _encode(
    frames: "_Frames",
    compute: Compute,
    finish: Finish,
    folder: PartsFolder,
    report: Callable[[VideoProgress], None],
) -> None:
    """Decode, upscale and encode frames, each in a thread of its own."""
    progress = VideoProgress(frames.job.total)

    def count() -> None:
        progress.frames += 1
        progress.earlier, progress.bytes = frames.skipped, folder.size()
        report(progress)

    def consume(items: Iterator[tuple[Frame, np.ndarray]]) -> None:
        finished = (replace(frame, pixels=finish(frame.pixels, sr)) for frame, sr in items)
        folder.write(finished, frames.job.encoding, count)

    with Sink(consume, _AHEAD) as sink, closing(read_ahead(frames, _AHEAD)) as ready:
        for frame in ready:
            sink.send((frame, compute(frame.pixels)))


def _rehearse(job: VideoJob, result: Path) -> list[str]:
    """Encode one black frame and begin the result: what cannot be written fails before any work.

    Returns:
        Notes for the user on what the result will not hold.
    """
    encoding = job.encoding
    dtype = np.uint8 if encoding.colour.bits <= 8 else np.uint16
    with temporary_beside(job.target) as part:
        with Encoder(part, encoding) as encoder:
            encoder.write(Frame(0, 1, np.zeros((*encoding.size, 3), dtype)))
        return join([part], job.source, job.facts, result, job.target, Cut(), trial=True)


class _Frames:
    """The frames of a job that are not done yet.

    Attributes:
        job: their job.
        skipped: how many were done.
        cut: the part of the source that the frames read so far make.
    """

    def __init__(self, job: VideoJob, last_done: Fraction | None) -> None:
        self.job, self._last_done = job, last_done
        self.skipped = 0
        self.cut = Cut()

    def __iter__(self) -> Iterator[Frame]:
        options, base = self.job.options, self.job.facts.time_base
        whole = frames_of(self.job.source, self.job.facts, options.first, options.last)
        with closing(whole):
            for frame in islice(whole, options.frames):
                at = frame.pts * base
                if options.cut:
                    begin = self.cut.first if self.cut.last is not None else at
                    self.cut = Cut(begin, at + max(frame.duration, 1) * base)
                if self._last_done is not None and at <= self._last_done:
                    self.skipped += 1
                else:
                    yield frame
