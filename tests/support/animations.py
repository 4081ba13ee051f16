"""A photograph that moves, as animated picture files, and what such files show."""

import io
from typing import Any

import numpy as np
from PIL import Image
from skimage import data

RGB = np.ascontiguousarray(data.coffee()[100:148, 150:214])
DURATIONS = [100, 250, 40, 70]
FRAMES = [np.ascontiguousarray(np.roll(RGB, 5 * k, 1)) for k in range(4)]
SUFFIXES = {"GIF": ".gif", "PNG": ".png", "WEBP": ".webp", "AVIF": ".avif"}


def animated(format: str, frames: list[np.ndarray] = FRAMES, **options: Any) -> bytes:
    buffer = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in frames]
    if format in ("WEBP", "AVIF"):
        options = {"quality": 95} | options
    options = {"duration": DURATIONS[: len(frames)]} | options
    first.save(buffer, format, save_all=True, append_images=rest, **options)
    return buffer.getvalue()


def shown(content: bytes) -> tuple[list[np.ndarray], list[float], int | None]:
    """Frames as RGBA, durations, and Pillow's count of plays."""
    with Image.open(io.BytesIO(content)) as image:
        frames: list[np.ndarray] = []
        durations: list[float] = []
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            image.load()
            frames.append(np.asarray(image.convert("RGBA")).astype(int))
            durations.append(image.info.get("duration", 0))
        return frames, durations, image.info.get("loop")
