"""The finished parts of a result in a folder beside it, from which a stopped job resumes.

Each part is a video that plays by itself, and appears whole or not at all. A killed process loses
the frames of the part that it was writing.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

from srgan.errors import OptionError
from srgan.pictures.files import make_folder, new_file, replace_file
from srgan.pictures.parts import remove_parts
from srgan.video.encoder import Encoder, Encoding
from srgan.video.join import times_of
from srgan.video.source import Frame

PART_FRAMES = 120
_JOB = "job.json"


class PartsFolder:
    """The folder of the parts of one result.

    Args:
        target: the result.
        suffix: of the parts, such as ".mp4".
    """

    def __init__(self, target: Path, suffix: str) -> None:
        self.path = target.with_name(f"{target.name}.parts")
        self._target, self._suffix = target, suffix

    @property
    def parts(self) -> list[Path]:
        """The finished parts, in the order of their times."""
        return sorted(self.path.glob(f"[0-9]*{self._suffix}"))

    def begin(self, job: dict[str, object], *, resume: bool, overwrite: bool) -> Fraction | None:
        """Prepare the folder for a job.

        Args:
            job: what decides about the result. Parts of another job do not fit.

        Returns:
            The time in seconds of the last frame that is done; None for no frame.

        Raises:
            OptionError: there are parts, and they are neither to be used nor to be replaced.
        """
        if overwrite and not resume:
            self.remove()
        known = json.dumps(job, indent=1, sort_keys=True)
        parts = self.parts
        if parts:
            _check(self.path, json.loads(known), resume=resume)
        else:
            make_folder(self.path)
            replace_file(self.path / _JOB, known.encode())
        remove_parts(self.path)
        return max(times_of(parts[-1])) if parts else None

    def write(self, frames: Iterator[Frame], encoding: Encoding, done: Callable[[], None]) -> None:
        """Encode frames into parts, behind those that exist.

        Args:
            done: called after each frame.
        """
        first = next(frames, None)
        index = len(self.parts)
        while first is not None:
            path = self.path / f"{index:05}{self._suffix}"
            with (
                new_file(path, overwrite=False) as temporary,
                Encoder(temporary, encoding) as encoder,
            ):
                for frame in chain([first], islice(frames, PART_FRAMES - 1)):
                    encoder.write(frame)
                    done()
            index += 1
            first = next(frames, None)

    def size(self) -> int:
        """Of the parts, in bytes."""
        return sum(part.stat().st_size for part in self.parts)

    def remove(self) -> None:
        """Remove the parts, and the folder if there is nothing else in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _check(folder: Path, job: dict[str, object], *, resume: bool) -> None:
    """Raise OptionError unless the job in the folder is this one and may be resumed."""
    advice = "add --overwrite to begin anew"
    if not resume:
        raise OptionError(f"{folder}: a stopped run left its parts: add --resume, or {advice}")
    try:
        earlier = json.loads((folder / _JOB).read_text())
    except (OSError, ValueError) as error:
        raise OptionError(f"{folder / _JOB}: it cannot be read: {advice}") from error
    for name, value in job.items():
        if earlier.get(name) != value:
            raise OptionError(
                f"{folder}: its parts were made with {name} {earlier.get(name)}, not {value}: "
                f"use that, or {advice}"
            )
