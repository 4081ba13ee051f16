"""The one search for picture files in folders, for every command that takes a folder."""

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from srgan.pictures.codec.formats import PICTURE_SUFFIXES


def picture_names(
    folder: Path,
    *,
    unreadable: Callable[[OSError], object],
    without: Collection[Path] = (),
) -> Iterator[str]:
    """Paths of the pictures in a folder and its subfolders, by suffix; no file is opened.

    Hidden files and folders are left out. Links to folders are not followed. A folder's own
    pictures come before those of its subfolders, each sorted by name.

    Args:
        unreadable: called with the error of each folder that cannot be read.
        without: subfolders to leave out.
    """
    left_out = {path.resolve() for path in without}
    for parent, subfolders, files in os.walk(folder, onerror=unreadable):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if left_out:
            subfolders[:] = [n for n in subfolders if Path(parent, n).resolve() not in left_out]
        for name in sorted(files):
            suffix = os.path.splitext(name)[1]  # noqa: PTH122 - a Path each takes four times as long
            if suffix.lower() in PICTURE_SUFFIXES and not name.startswith("."):
                yield os.path.join(parent, name)  # noqa: PTH118
