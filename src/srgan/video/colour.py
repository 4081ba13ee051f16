"""Colour of a video: what its stream says, and the exact way to RGB and back.

The conversions are FFmpeg's `scale` filter with its exact arithmetic. It knows where the chroma
samples lie: taken for centred, as in plain swscale, the colours of an x4 result would lie 1.5
pixels beside their edges.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av import VideoFrame
from av.filter import Graph

_FLAGS = "bicubic+accurate_rnd+full_chroma_inp+full_chroma_int+bitexact"
_UNSPECIFIED = 2
# FFmpeg's numbers of matrices (ITU-T H.273), and their names in the filter.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
_RGB, _FULL = 0, 2
_HDR = {16: "PQ", 18: "HLG"}
_HD_HEIGHT = 576  # untagged video above it is BT.709 to players


@dataclass(frozen=True)
class Colour:
    """How the samples of a video encode colour.

    Attributes:
        matrix, primaries, transfer: numbers of ITU-T H.273; 2 is unspecified.
        full: full range instead of limited.
        bits: of a sample.
        chroma: "420", "422", "444", "rgb" or "gray".
        hdr: "PQ" or "HLG"; None for SDR.
    """

    matrix: int
    primaries: int
    transfer: int
    full: bool
    bits: int
    chroma: str

    @property
    def hdr(self) -> str | None:
        return _HDR.get(self.transfer)

    @property
    def rgb_format(self) -> str:
        """The format of RGB pixels with enough levels."""
        return "rgb24" if self.bits <= 8 else "rgb48le"


def colour_of(frame: VideoFrame) -> Colour:
    """The colour of a decoded frame. Unspecified values become those that players assume.

    Raises:
        ValueError: srgan cannot convert it; the text says what it is.
    """
    name, components = frame.format.name, frame.format.components
    bits = max(each.bits for each in components)
    if name.endswith(("f32le", "f32be", "f16le", "f16be")) or name.startswith("bayer"):
        raise ValueError(f"pixels of type {name}")
    if frame.format.is_rgb or "pal" in name:
        chroma = "rgb"
    elif len([each for each in components if not each.is_alpha]) < 2:
        chroma = "gray"
    else:
        across, down = frame.width // frame.format.chroma_width(), frame.format.chroma_height()
        chroma = "444" if across == 1 else "422" if down >= frame.height else "420"
    matrix = int(frame.colorspace)
    if chroma in ("rgb", "gray") or matrix == _UNSPECIFIED:
        matrix = 1 if frame.height > _HD_HEIGHT or chroma == "rgb" else 6
    if matrix not in _MATRICES:
        raise ValueError(f"colours of matrix {matrix} (ITU-T H.273)")
    full = name.startswith("yuvj") or int(frame.color_range) == _FULL
    return Colour(
        matrix,
        _or_matrix(int(frame.color_primaries), matrix),
        _or_matrix(int(frame.color_trc), matrix),
        full or (chroma == "gray" and int(frame.color_range) == 0),
        bits,
        chroma,
    )


def _or_matrix(value: int, matrix: int) -> int:
    """Primaries or a transfer function; where unspecified, those that belong to the matrix."""
    if value not in (0, _UNSPECIFIED):
        return value
    return matrix if matrix in (1, 6, 7, 9) else _UNSPECIFIED


class Converter:
    """Frames of one format and size to frames of another, in order.

    Args:
        frame: an example of the frames that come.
        target: FFmpeg's name of the pixel format to make.
        colour: of the YUV side.
        deinterlace: frames whose flag says interlaced become progressive; one frame for each.
    """

    def __init__(
        self, frame: VideoFrame, target: str, colour: Colour, *, deinterlace: bool = False
    ) -> None:
        self._kind = frame.width, frame.height, frame.format.name
        self._deinterlace = deinterlace
        sides = {"in": frame.format, "out": av.VideoFormat(target)}
        options = [f"flags={_FLAGS}"]
        for side, format in sides.items():
            rgb = format.is_rgb or "pal" in format.name
            options.append(f"{side}_range={'pc' if rgb or colour.full else 'tv'}")
            if not rgb:
                options.append(f"{side}_color_matrix={_MATRICES[colour.matrix]}")
                if "420" in format.name and not format.name.startswith("yuvj"):  # JPEG centres
                    place = "topleft" if colour.matrix == 9 else "left"
                    options.append(f"{side}_chroma_loc={place}")
        self._graph = graph = Graph()
        graph.threads = 1
        self._time_base = Fraction(frame.time_base or 1)
        nodes: list[Any] = [
            graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=frame.time_base,
            )
        ]
        if deinterlace:
            nodes.append(graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced"))
        nodes.append(graph.add("scale", ":".join(options)))
        nodes += [graph.add("format", f"pix_fmts={target}"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()

    def fits(self, frame: VideoFrame, *, deinterlace: bool) -> bool:
        """Whether it can take this frame."""
        kind = frame.width, frame.height, frame.format.name
        return kind == self._kind and deinterlace == self._deinterlace

    def convert(self, frame: VideoFrame | None) -> list[VideoFrame]:
        """The frames that are ready after this one; None ends the stream."""
        self._graph.vpush(frame)
        ready: list[VideoFrame] = []
        while True:
            try:
                found = self._graph.vpull()
            except (BlockingIOError, EOFError):
                return ready
            base = found.time_base
            if found.pts is not None and base is not None and base != self._time_base:
                found.pts = round(found.pts * base / self._time_base)  # it counts in halves
                found.duration = round((found.duration or 0) * base / self._time_base)
                found.time_base = self._time_base
            ready.append(found)
