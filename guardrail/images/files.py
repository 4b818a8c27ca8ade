"""Image files as containers: the kind of a file, and which of its parts make pixels.

Files are split here into what makes pixels and the rest, by walking their chunks or segments. Pillow gets the
pixel parts only, straight into the class of the format that the content shows. So text bombs, huge profiles,
broken EXIF, second frames and preview pictures are parsed by nobody, and sizes are checked before a pixel is
decoded. Nor does any code run that makes Pillow *warn*: where warnings are errors nothing breaks, process-wide
settings (`Image.MAX_IMAGE_PIXELS`, `ImageFile.LOAD_TRUNCATED_IMAGES`) stay as they are, and
`warnings.catch_warnings`, which is not thread-safe, is not needed.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from guardrail.errors import ImageError

_ACCEPTED = "accepted formats are PNG, JPEG, WebP, GIF and BMP"
DAMAGED = "it is truncated or damaged; save it again, as PNG or JPEG"
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q"}  # TIFF's types
_MAX_PARTS = 65_536  # chunks or segments in a file; real ones have at most a few thousand
_MAX_SCANS = 100  # in a progressive JPEG, each costs a pass over all pixels; encoders write about ten


def orientation_of(exif: bytes) -> int:
    """Return the EXIF orientation, 1 … 8; 1, upright, if there is none or the block is broken.

    The standard has it as one SHORT; viewers take the first number of whatever integer type was written.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, numbers = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == 0x0112 and kind in _INTEGERS and numbers:
                number = order + _INTEGERS[kind]
                inline = numbers * struct.calcsize(number) <= 4
                at = entry + 8 if inline else struct.unpack_from(order + "I", tiff, entry + 8)[0]
                (value,) = struct.unpack_from(number, tiff, at)
                return value if value in range(1, 9) else 1
    except struct.error:
        pass
    return 1


class Canvas(NamedTuple):
    """Where a picture lies: a frame of an animation may be smaller than its screen, which shows through round it."""

    width: int
    height: int
    left: int
    """Column of the canvas where the picture begins."""
    top: int


class FileParts(NamedTuple):
    """The part of a file that makes its pixels."""

    data: bytes
    """A file of the same format that holds only this part."""
    plain: bool
    """Whether the samples have 8 bits, and nothing that was left out would have changed the picture."""
    orientation: int = 1
    """EXIF orientation, 1 … 8."""
    size: tuple[int, int] | None = None
    """Width and height; None: the decoder itself tells them before it decodes."""
    canvas: Canvas | None = None
    """On what it lies, `size` being that of the canvas; None: it fills it."""
    passes: int = 1
    """Number of times that decoding goes over all pixels: the scans of a progressive JPEG."""


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and content of each chunk before IEND, its checksum verified."""
    position = 8
    for _ in range(_MAX_PARTS):
        if position + 12 > len(data):
            raise ImageError("it ends before its IEND chunk: truncated; send the whole file")
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise ImageError(f"it ends within a chunk {repr(name)[1:]}: truncated; send the whole file")
        content = data[position + 8 : end - 4]
        if _crc(name, content) != data[end - 4 : end]:
            raise ImageError(f"the checksum of its chunk {repr(name)[1:]} is wrong: {DAMAGED}")
        if name == b"IEND":
            return
        yield name, content
        position = end
    raise ImageError(f"it has more than {_MAX_PARTS} chunks; save it again")


def _crc(name: bytes, content: bytes) -> bytes:
    return zlib.crc32(content, zlib.crc32(name)).to_bytes(4)


def _split_png(data: bytes) -> FileParts:
    """Keep IHDR, PLTE, tRNS and IDAT."""
    first: dict[bytes, bytes] = {}
    samples: list[bytes] = []
    for name, content in _png_chunks(data):
        if name == b"IDAT":
            samples.append(content)
        elif name in {b"IHDR", b"PLTE", b"tRNS", b"eXIf"}:
            first.setdefault(name, content)
        elif name[0] & 0x20:  # a small letter: may be ignored, says the standard
            first[name] = b""
        else:
            raise ImageError(f"it needs an unknown chunk {repr(name)[1:]}; save it again, as PNG or JPEG")
    header = first.get(b"IHDR", b"")
    if len(header) != 13 or not samples:
        raise ImageError(f"it has no header or no pixels: {DAMAGED}")
    depth, colour = header[8:10]
    kept = [(b"IHDR", header)]
    if colour == 3:
        if b"PLTE" not in first:
            raise ImageError(f"it has no palette: {DAMAGED}")
        kept.append((b"PLTE", first[b"PLTE"]))
    if b"tRNS" in first and colour in {0, 2, 3}:
        kept.append((b"tRNS", _scale_trns(first[b"tRNS"], depth, colour)))
    kept += [(b"IDAT", b"".join(samples)), (b"IEND", b"")]
    out = [data[:8]]
    for name, content in kept:
        out += [len(content).to_bytes(4), name, content, _crc(name, content)]
    orientation = orientation_of(first.get(b"eXIf", b""))
    changing = {b"iCCP", b"gAMA", b"cHRM", b"cICP", b"mDCV", b"cLLI", b"acTL", b"tRNS"}
    plain = (depth, colour) == (8, 2) and orientation == 1 and changing.isdisjoint(first)
    return FileParts(b"".join(out), plain, orientation)


def _scale_trns(content: bytes, depth: int, colour: int) -> bytes:
    """Return a tRNS chunk in the range of the samples that Pillow compares it with."""
    if colour == 3 or (colour == 0 and depth in {1, 16}):
        return content
    count = 1 if colour == 0 else 3
    samples = struct.unpack_from(f">{count}H", content)
    highest = 2**depth - 1
    scaled = [s >> 8 if depth == 16 else (s & highest) * 255 // highest for s in samples]
    return struct.pack(f">{count}H", *scaled)


_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.S)  # within scans too: there FF is escaped


def _split_jpeg(data: bytes) -> FileParts:
    """Keep tables, frame header and scans, and the two segments that say how colours are coded."""
    out = [data[:2]]
    orientation, plain, scans, position = 0, True, 0, 2
    for _ in range(_MAX_PARTS):
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            break  # the end marker is missing; the decoder finds out whether pixels are missing too
        marker, start = found[1][0], found.start()
        if marker == 0xD9:
            out.append(found[0])
            break
        if marker in {0x01, 0xD8}:
            position = found.end()
            continue
        length = int.from_bytes(data[start + 2 : start + 4])
        end = position = start + 2 + length
        content = data[start + 4 : end]
        if length < 2 or end > len(data):
            raise ImageError(f"it ends within a segment {found[0].hex()}: truncated; send the whole file")
        if marker == 0xDA:
            scans += 1
            following = _JPEG_MARKER.search(data, end)
            end = position = following.start() if following else len(data)
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            orientation = orientation or orientation_of(content)
        plain = plain and not (marker == 0xE2 and content.startswith((b"ICC_PROFILE\0", b"MPF\0")))
        jfif = marker == 0xE0 and content.startswith(b"JFIF\0") and length >= 16
        adobe = marker == 0xEE and content.startswith(b"Adobe") and length >= 14
        if marker < 0xE0 or jfif or adobe:
            out.append(data[start:end])
    else:
        raise ImageError(f"it has more than {_MAX_PARTS} segments; save it again")
    if scans > _MAX_SCANS:
        raise ImageError(f"it has {scans} scans, more than {_MAX_SCANS}; save it again, as baseline JPEG")
    return FileParts(b"".join(out), plain and orientation <= 1, max(orientation, 1), passes=scans)


def _split_webp(data: bytes) -> FileParts:
    """Keep all: the decoder returns metadata unparsed, and decodes only the frames that are requested.

    It puts the first frame on its canvas, which is transparent round it.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise ImageError("it is shorter than its header says: truncated; send the whole file")
    kind = data[12:16]
    if kind == b"VP8X":
        size = (1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        size = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    else:
        width, height = struct.unpack_from("<2H", data, 26)
        size = (width & 0x3FFF, height & 0x3FFF)
    seen: dict[bytes, bytes] = {}
    position = 12
    for _ in range(_MAX_PARTS):
        if position + 8 > end:
            break
        name, length = struct.unpack_from("<4sI", data, position)
        if name == b"EXIF" or name not in seen:
            seen[name] = data[position + 8 : position + 8 + length] if name == b"EXIF" else b""
        position += 8 + length + length % 2
    else:
        raise ImageError(f"it has more than {_MAX_PARTS} chunks; save it again")
    orientation = orientation_of(seen.get(b"EXIF", b""))
    plain = orientation == 1 and {b"ICCP", b"ANIM"}.isdisjoint(seen)
    kept = data[:end]
    if kind == b"VP8X" and b"ANIM" in seen:  # alpha is there even if the header denies it: round a smaller frame
        kept = data[:20] + bytes([data[20] | 0x10]) + data[21:end]
    return FileParts(kept, plain, orientation, size)


def _split_gif(data: bytes) -> FileParts:
    """Keep the palettes, the transparent index and the first frame, on a screen of its own size.

    The screen proper, widened where the frame would not fit, is the canvas: browsers let their page show through round
    the frame, where decoders put some colour of the palette.
    """
    header = bytearray(data[:13])
    position = 13 + (3 << (header[10] & 7) + 1 if header[10] & 0x80 else 0)
    palette, control = data[13:position], b""
    for _ in range(_MAX_PARTS):
        if data[position] == 0x2C:
            break
        if data[position] != 0x21:
            raise ImageError(f"it has no frame: {DAMAGED}")
        if data[position + 1] == 0xF9 and data[position + 2] >= 4:
            keyed, index = data[position + 3] & 1, data[position + 6]
            control = bytes([0x21, 0xF9, 4, keyed, 0, 0, index, 0])  # neither delay nor disposal
        position += 2
        while data[position]:
            position += 1 + data[position]
        position += 1
    else:
        raise ImageError(f"it has more than {_MAX_PARTS} blocks before its first frame; save it again")
    screen_width, screen_height = struct.unpack_from("<2H", header, 6)
    left, top, width, height = struct.unpack_from("<4H", data, position + 1)
    canvas = Canvas(max(screen_width, left + width), max(screen_height, top + height), left, top)
    if max(canvas) > 0xFFFF:
        raise ImageError(f"its first frame lies outside the screen: {DAMAGED}")
    struct.pack_into("<2H", header, 6, width, height)
    frame = data[position : position + 1] + bytes(4) + data[position + 5 :]
    return FileParts(b"".join([header, palette, control, frame]), False, size=canvas[:2], canvas=canvas)


def _split_bmp(data: bytes) -> FileParts:
    """Keep all: the decoder reads no more than the header and the samples."""
    header, bits, compression = struct.unpack_from("<I10xHI", data, 14)
    return FileParts(data, plain=(header, bits, compression) == (40, 24, 0))


class FileKind(NamedTuple):
    """A format: the first bytes of its files, and the functions that read them."""

    name: str
    suffixes: tuple[str, ...]
    """How such files' names usually end; for finding files, their content is what counts."""
    magic: re.Pattern[bytes]
    split: Callable[[bytes], FileParts]
    decoder: Callable[[Any], ImageFile.ImageFile]


_KINDS = (
    FileKind("PNG", (".png", ".apng"), re.compile(rb"\x89PNG\r\n\x1a\n"), _split_png, PngImagePlugin.PngImageFile),
    FileKind(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        re.compile(rb"\xff\xd8\xff"),
        _split_jpeg,
        JpegImagePlugin.JpegImageFile,
    ),
    FileKind("WEBP", (".webp",), re.compile(rb"RIFF....WEBP", re.S), _split_webp, WebPImagePlugin.WebPImageFile),
    FileKind("GIF", (".gif",), re.compile(rb"GIF8[79]a"), _split_gif, GifImagePlugin.GifImageFile),
    FileKind("BMP", (".bmp",), re.compile(rb"BM"), _split_bmp, BmpImagePlugin.BmpImageFile),
)
SUFFIXES = frozenset(suffix for kind in _KINDS for suffix in kind.suffixes)
"""How the names of accepted files end, in small letters."""
_REFUSED = {  # other kinds that people send, so that the error can name them
    "a TIFF image": re.compile(rb"II\*\0|MM\0\*"),
    "a HEIC or AVIF image": re.compile(
        rb"....ftyp(.{4})*?(hei[a-z]|hev[a-z]|mif\d|msf\d|Mi[A-Z].|mia.|avi[fos]|avc[is]|vvi[cs])", re.S
    ),
    "a video": re.compile(rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", re.S),
    "a JPEG 2000 or JPEG XL image": re.compile(rb"\0\0\0\x0c(jP|JXL) |\xff\x0a|\xff\x4f\xff\x51", re.S),
    "a PDF document": re.compile(rb"%PDF"),
    "an SVG image": re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg", re.S),
    "an HTML page": re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE),
    "text": re.compile(rb"[\t\n\r -~]+\Z"),
}


def recognise(data: bytes) -> FileKind:
    """Return the format that a file's content shows; its name or declared type never matters."""
    if not data:
        raise ImageError(f"the image is empty, 0 bytes; {_ACCEPTED}")
    for kind in _KINDS:
        if kind.magic.match(data):
            return kind
    box = int.from_bytes(data[:4]) if data[4:8] == b"ftyp" else 0  # brands stand in a box that says its length
    begin = data[: box if 16 <= box <= 1024 else 1024]
    kinds = (name for name, magic in _REFUSED.items() if magic.match(begin))
    raise ImageError(f"the content is {next(kinds, 'of an unknown kind')}, not an accepted image; {_ACCEPTED}")
