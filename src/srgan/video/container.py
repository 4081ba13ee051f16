"""Opens video files, and names what FFmpeg says about them."""

import contextlib
import errno
from collections.abc import Generator
from pathlib import Path
from typing import TypeGuard

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from srgan.errors import UserError
from srgan.pictures.files import read_error

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO)


class VideoError(UserError):
    """A video cannot be read or written: one line with the file, the reason, what to do."""


def lacks_room(error: BaseException) -> TypeGuard[OSError]:
    """Whether FFmpeg's error is about the disk, not about the video."""
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS


@contextlib.contextmanager
def opened(path: Path) -> Generator[InputContainer, None, None]:
    """Open a video file.

    Raises:
        VideoError: it cannot be read; also for FFmpeg's errors in the body.
    """
    try:
        # Only this file: playlists and the like name others.
        options = {"protocol_whitelist": "file"}
        with av.open(
            f"file:{path}", options=options, metadata_errors="surrogateescape"
        ) as container:
            yield container
    except FFmpegError as error:
        if lacks_room(error):
            raise VideoError(str(read_error(str(path), error))) from error
        reason = "it is damaged, cut short, or not a video"
        raise VideoError(f"{path}: {reason}: get a fresh copy") from error


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is not a cover picture.

    Raises:
        VideoError: there is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            stream.thread_type = "AUTO"
            return stream
    raise VideoError(f"{path}: there is no video in it, only sound or text: give a video")
