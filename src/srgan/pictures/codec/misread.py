"""What libvips opens without an error but gets wrong: kinds of TIFF to refuse, CMYK with alpha."""

from typing import Any

from srgan.pictures.codec.tiff import Directory

_MINISWHITE, _MINISBLACK, _SEPARATE_PLANES = 0, 1, 2  # tags 262 and 284
_SEPARATED, _YCBCR, _CIELAB, _ICCLAB, _ITULAB = 5, 6, 8, 9, 10  # tag 262
# Tag 259: compressions that keep the samples as they are. JPEG's decoder converts YCbCr.
_LOSSLESS = {1, 5, 8, 32773, 32946, 34925, 50000}
# Tag 259: what libvips decompresses. It reads tiles in any other compression as black.
_DECOMPRESSED = {
    *(1, 2, 3, 4, 5, 6, 7, 8, 32766, 32771, 32773, 32809, 32946, 34676, 34677),
    *(33003, 33004, 33005, 34712, 50000, 50001),
}
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3  # tag 339
_PREMULTIPLIED = 1  # tag 338
_LAB_TYPES = {(8, _UNSIGNED), (8, _SIGNED), (16, _UNSIGNED), (16, _SIGNED), (32, _FLOAT)}


def unreadable(directory: Directory) -> str | None:
    """Why libvips would read wrong pixels from a TIFF, and what to do; None if it reads them."""
    colours = directory.first(262, _MINISBLACK)
    compression = directory.first(259, 1)
    planes = directory.first(284, 1)
    if directory.is_thumbnail:
        return "only the thumbnail of a camera's raw file can be read: develop it first"
    if 324 in directory.tags and compression not in _DECOMPRESSED:
        return f"its compression {compression} cannot be read: save it with LZW or Deflate"
    unusual = directory.samples != 3 or planes == _SEPARATE_PLANES
    if colours == _YCBCR and compression in _LOSSLESS and unusual:
        return "YCbCr with separate planes or further channels cannot be read: save it as RGB"
    if colours in (_ICCLAB, _ITULAB) or (colours == _CIELAB and not _is_plain_lab(directory)):
        return "this kind of LAB cannot be read: save it as RGB"
    wide = max(directory.values.get(258, (1,))) > 8
    if colours == _SEPARATED and wide and _PREMULTIPLIED in directory.values.get(338, ()):
        return "16-bit CMYK with premultiplied alpha cannot be read: save it as RGB"
    if directory.planar_tiles and wide:
        return "16-bit tiles in separate planes cannot be read: save it with interleaved channels"
    gray = colours in (_MINISWHITE, _MINISBLACK)
    if gray and planes == _SEPARATE_PLANES and directory.samples > 1:
        return "gray and alpha in separate planes cannot be read: save it with interleaved channels"
    return None


def _is_plain_lab(directory: Directory) -> bool:
    """Whether libvips scales the samples of a CIELAB picture rightly, or refuses it."""
    kind = (max(directory.values.get(258, (1,))), directory.first(339, _UNSIGNED))
    alpha = any(map(directory.is_alpha, range(directory.samples)))
    return kind in _LAB_TYPES and not alpha and directory.first(284, 1) != _SEPARATE_PLANES


def cmyk_to_srgb(image: Any) -> Any:
    """Convert an image of pyvips by its embedded profile, if it has one. Alpha stays as it is."""
    colours = image.extract_band(0, n=4).icc_transform(
        "srgb",
        embedded=True,
        input_profile="cmyk",
        intent="relative",
        black_point_compensation=True,
        depth=16 if image.format == "ushort" else 8,
    )
    # With an alpha of 16 bits, libvips' own transform returns full opacity.
    return colours if image.bands == 4 else colours.bandjoin(image.extract_band(4))
