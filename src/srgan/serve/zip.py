"""A zip file that is made while it is sent: it needs neither disk space nor memory."""

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

CHUNK = 1 << 20


class _Outgoing:
    """A file for `ZipFile` that cannot seek; what is written waits to be taken."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def take(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


def zipped(files: Sequence[tuple[Path, str]]) -> Iterator[bytes]:
    """The bytes of a zip file. Pictures are compressed already, so they are stored as they are.

    Args:
        files: paths, and their names in the zip; equal names get numbers.
    """
    outgoing = _Outgoing()
    names = _distinct([name for _, name in files])
    with zipfile.ZipFile(outgoing, "w") as archive:  # type: ignore[arg-type]
        for (path, _), name in zip(files, names, strict=True):
            info = zipfile.ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield outgoing.take()
    yield outgoing.take()


def _distinct(names: Sequence[str]) -> list[str]:
    """photo_x4.jpg, photo_x4 (2).jpg, ..."""
    taken: dict[str, str] = {}  # by the name that file systems without capitals see
    for name in names:
        path, number, free = PurePath(name), 1, name
        while free.lower() in taken:
            number += 1
            free = f"{path.stem} ({number}){path.suffix}"
        taken[free.lower()] = free
    return list(taken.values())
