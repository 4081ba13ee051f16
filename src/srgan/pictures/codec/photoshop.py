"""The resources of Photoshop, in JPEG and in TIFF. One of them is IPTC.

Source: Adobe Photoshop File Formats Specification, "Image Resource Blocks".
"""

import struct
from collections.abc import Collection, Iterator

_START, _RESOURCE = b"Photoshop 3.0\0", b"8BIM"
_IPTC = 0x0404
IPTC_HEAD = _RESOURCE + _IPTC.to_bytes(2, "big")
DIGEST = 0x0425  # of IPTC's records
THUMBNAILS = (0x0409, 0x040C)


def block(records: bytes, others: bytes) -> bytes | None:
    """The block of JPEG with the records of IPTC and other resources; None without both."""
    iptc = IPTC_HEAD + struct.pack(">HI", 0, len(records)) + records + bytes(len(records) % 2)
    resources = (iptc if records else b"") + others
    return _START + resources if resources else None


def split(block: bytes, without: Collection[int] = ()) -> tuple[bytes, bytes]:
    """The records of IPTC in a block, and the other resources.

    Args:
        block: as JPEG holds it, or as TIFF does, without its start.
        without: kinds of resources to leave out.
    """
    others: list[bytes] = []
    records = b""
    for kind, whole, data in _resources(block.removeprefix(_START)):
        if kind == _IPTC:
            records = records or data
        elif kind not in without:
            others.append(whole)
    return records, b"".join(others)


def _resources(resources: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The kind of each whole resource, all its bytes, and its data."""
    position = 0
    while resources[position : position + 4] == _RESOURCE and len(resources) >= position + 12:
        kind, name = struct.unpack_from(">HB", resources, position + 4)
        start = position + 6 + (name + 2) // 2 * 2 + 4
        size = int.from_bytes(resources[start - 4 : start], "big")
        if start + size > len(resources):
            return
        end = start + size + size % 2
        yield kind, resources[position:end], resources[start : start + size]
        position = end
