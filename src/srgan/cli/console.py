"""The output of commands on many pictures: progress bars, a line per picture, or JSON.

rich, which draws the bars, is imported only where they are shown: it takes a tenth of the time of
upscaling a small picture.
"""

import json
import logging
import sys
import time
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from srgan.errors import MessageHandler, one_line
from srgan.pictures.images import Picture
from srgan.pictures.jobs import PictureJob
from srgan.progress import ProgressLines, time_left

if TYPE_CHECKING:
    from srgan.cli.bars import PictureBar, PictureBars

log = logging.getLogger("srgan")


class JobReport:
    """The report of one picture, collected while it is processed.

    Args:
        bar: shows the progress on a terminal.
        lines: say it elsewhere, if given.
    """

    def __init__(
        self, job: PictureJob, bar: "PictureBar | None", lines: ProgressLines | None
    ) -> None:
        self.record: dict[str, object] = {"input": str(job.source), "output": str(job.target)}
        self.notes: list[str] = []
        self.megapixels = 0.0
        self._bar, self._lines = bar, lines
        self._rows = 0
        self._start = time.perf_counter()

    def opened(self, picture: Picture, size: tuple[int, int]) -> None:
        """The picture is open and can be upscaled to `size` = (height, width)."""
        height, width, _ = picture.shape
        self.record |= {"status": "planned", "size": (width, height), "result_size": size[::-1]}
        self.notes += picture.notes
        self.megapixels = size[0] * size[1] / 1e6
        self._rows = size[0]
        if self._bar:
            self._bar.size(size)

    def chosen(self, model: str, why: str, *, explain: bool) -> None:
        """A model was chosen for the picture."""
        self.record["model"] = model
        if explain:
            self.notes.append(f"model {model}: {why}")

    def progress(self, rows: float) -> None:
        """So many rows of the result are done."""
        if self._bar:
            self._bar.progress(rows)
        if self._lines and rows:
            left = time_left(time.perf_counter() - self._start, rows, self._rows)
            self._lines.say(f"{self.record['input']}: {rows / self._rows:.0%}, {left} left")

    def done(self, notes: list[str]) -> None:
        """The result is written."""
        self.record |= {"status": "done", "seconds": round(time.perf_counter() - self._start, 3)}
        self.notes += notes

    def close(self) -> None:
        if self._bar:
            self._bar.close()

    def __str__(self) -> str:
        line = "{input} -> {output}  {size[0]}x{size[1]} -> {result_size[0]}x{result_size[1]}"
        if "seconds" in self.record:
            line += "  {seconds:.1f} s"
        line = line.format(**self.record)
        return "".join([line, *(f"\n  {note}" for note in self.notes)])


class Reporter:
    """Shows a batch. A picture that fails is reported with its reason; the batch continues.

    Args:
        total: number of pictures.
        verb: what happens to them, such as "done".
        json: print JSON instead of text.
        out: where the lines of pictures go; standard output by default.
    """

    def __init__(self, total: int, *, verb: str, json: bool, out: TextIO | None = None) -> None:
        self._json, self._total, self._verb = json, total, verb
        self._out = out or sys.stdout
        self._done = self._failed = self._kept = 0
        self._bars = None if json or not sys.stderr.isatty() else _bars(total)
        self._handler = MessageHandler(lambda text: print(text, file=sys.stderr))

    @property
    def exit_code(self) -> int:
        return 1 if self._failed else 0

    def __enter__(self) -> "Reporter":
        logging.getLogger("srgan").addHandler(self._handler)
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._bars:
            self._bars.stop()
        logging.getLogger("srgan").removeHandler(self._handler)
        if self._total > 1 and not self._json and error is None:
            failed = f", {self._failed} failed" if self._failed else ""
            kept = f", {self._kept} skipped: their results exist" if self._kept else ""
            done = f"{self._done} of {self._total} pictures {self._verb}"
            print(f"{done}{kept}{failed}", file=sys.stderr)

    def keep(self, job: PictureJob) -> None:
        """A picture whose result exists: there is nothing to do."""
        self._kept += 1
        if self._total == 1 and not self._json:
            print(f"{job.target}: exists; skipped", file=sys.stderr)
        if self._json:
            record = {"input": str(job.source), "output": str(job.target), "status": "skipped"}
            print(json.dumps(record), file=self._out, flush=True)
        if self._bars:
            self._bars.picture_done(0)

    @contextmanager
    def job(self, job: PictureJob) -> Generator[JobReport]:
        """One picture of the batch. An exception in the body is reported, not raised."""
        bar = self._bars.add(job.source.name) if self._bars else None
        report = JobReport(job, bar, None if self._json else ProgressLines())
        megapixels = 0.0
        try:
            yield report
        except Exception as error:
            self._failed += 1
            self._print_failure(report, job.source, error)
        else:
            self._done += 1
            megapixels = report.megapixels
            self._print(report)
        finally:
            report.close()
            if self._bars:
                self._bars.picture_done(megapixels)

    def _print(self, report: JobReport) -> None:
        if self._json:
            record = {**report.record, "notes": report.notes}
            print(json.dumps(record), file=self._out, flush=True)
        else:
            print(report, file=self._out, flush=True)

    def _print_failure(self, report: JobReport, source: Path, error: Exception) -> None:
        reason = one_line(error)
        if str(source) not in reason:
            reason = f"{source}: {reason}"
        if log.isEnabledFor(logging.DEBUG):
            traceback.print_exception(error)
        if self._json:
            record = {**report.record, "status": "failed", "reason": reason}
            print(json.dumps(record), file=self._out, flush=True)
        else:
            print(reason, file=sys.stderr, flush=True)


def _bars(total: int) -> "PictureBars":
    from srgan.cli.bars import PictureBars

    return PictureBars(total)
