"""Untrusted image inputs: any source becomes one canonical picture, or one typed error.

The canonical picture is what is checked, hashed and sent: 8-bit RGB, upright, opaque, one frame, no metadata.

- EXIF orientation is applied.
- Transparency is composited on white, the ground of most chat applications; a bitmap (BMP) whose alpha is zero
  everywhere is opaque.
- Of an animation, the first frame counts (of an animated PNG, the image that viewers without animation show), on its
  screen, which is transparent round a smaller frame.
- 16-bit samples keep their high byte.
- CMYK is read as Adobe writes it (inverted) and converted without a profile, as browsers' decoders do.
- Pixels are taken as stored: colour profiles and gamma are dropped, not applied. No model applies them later, because
  only the canonical picture is sent.

What the caller can change is copied once, when it is taken (`take_images`), and only the copy is read from then on. A
PIL image is its pixels as Pillow has them; many threads may pass the same one, which is read under a lock of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias
from urllib.parse import unquote_to_bytes

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from guardrail.errors import ImageError, ImageTooLargeError, plainly
from guardrail.images.canonical import canonical
from guardrail.images.files import DAMAGED, orientation_of, recognise
from guardrail.images.limits import DEFAULT_LIMITS, ImageLimits
from guardrail.images.locks import ObjectLocks
from guardrail.images.once import once

ImageSource: TypeAlias = (
    "bytes | bytearray | memoryview | str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | InputImage"
)
"""What `InputImage.load` reads."""

Taken: TypeAlias = "bytes | InputImage"
"""A source as nobody can change it: a file's bytes, or pixels."""

_PIL_LOCKS = ObjectLocks()  # of the process, since one image may be passed to several guards
_DATA_URL = re.compile(r"[\0- ]*data:", re.IGNORECASE)
_MAX_ESCAPES = 100_000
_MAX_PASSES = 12  # over all pixels of the largest picture that is allowed: what a progressive JPEG usually takes


@dataclass(frozen=True, eq=False, repr=False)
class InputImage:
    """A picture in canonical form. Immutable; equal to every image of the same pixels, whatever its source.

    `InputImage.load` reads any source; the constructor copies canonical pixels.

    Raises:
        ImageError: the pixels have another shape or type.
    """

    pixels: NDArray[np.uint8]
    """Array [H, W, 3] of uint8, RGB, C-contiguous, read-only."""
    format: str = "ARRAY"
    """Format of the source: PNG, JPEG, WEBP, GIF, BMP, ARRAY, or of a PIL image its format, else PIL."""
    plain: bool = True
    """Whether the source was this very picture already: 8-bit RGB, one frame, no transparency, no orientation to apply,
    no colour profile or gamma. (Other metadata may have been there.)"""

    def __post_init__(self) -> None:
        pixels = self.pixels
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
            raise ImageError(
                f"pixels must be uint8 [H, W, 3], not {pixels.dtype} {list(pixels.shape)}; "
                "convert floats to 0 … 255, and greyscale or transparency to RGB"
            )
        # Memory owned by a bytes object is read-only for good: numpy refuses to make such an array writeable.
        base = pixels.base
        ours = isinstance(base, bytes) and len(base) == pixels.nbytes and pixels.flags.c_contiguous
        object.__setattr__(self, "pixels", np.ndarray(pixels.shape, np.uint8, base if ours else pixels.tobytes()))

    @classmethod
    def load(cls, source: ImageSource, limits: ImageLimits = DEFAULT_LIMITS) -> InputImage:
        """Read one image.

        A string is a data URL if it begins with `data:`, after white space or not, else the path of a file. Code that
        handles strings from strangers must call `from_data_url` instead, which never touches the file system.

        Args:
            source: a file's bytes, its path, a data URL, a PIL image (its current frame), an array [H, W, 3]
                of uint8, or an `InputImage`, which is returned as it is.
            limits: what is allowed; `max_count` does not matter here.

        Raises:
            ImageTooLargeError: it is above the limits, found before decoding.
            ImageError: it cannot be read, for whatever reason: missing, remote, unsupported, malformed.
        """
        taken = _take(source, limits)
        return taken if isinstance(taken, InputImage) else cls._from_file(taken, limits)

    @classmethod
    def from_data_url(cls, url: str, limits: ImageLimits = DEFAULT_LIMITS) -> InputImage:
        """Read a data URL, base64 or percent-encoded, as browsers do, and nothing else.

        Of base64, white space and missing padding are allowed, as in the WHATWG standard; any other character
        outside the alphabet is not. The declared media type is ignored: the content decides.

        Raises:
            ImageTooLargeError: it is above the limits, found before decoding.
            ImageError: it is no data URL or its content cannot be read.
        """
        return cls._from_file(_read_data_url(url, limits), limits)

    @classmethod
    def _from_file(cls, data: bytes, limits: ImageLimits) -> InputImage:
        kind = recognise(data)
        try:
            parts = kind.split(data)
            if parts.size is not None:
                limits.check_size(*parts.size)
            image = kind.decoder(io.BytesIO(parts.data))
            limits.check_size(*image.size)
            if parts.passes * image.width * image.height > _MAX_PASSES * limits.max_pixels:
                raise ImageTooLargeError(
                    f"an image of {image.width}x{image.height} pixels in {parts.passes} scans is slow to decode; "
                    "save it as baseline JPEG or PNG"
                )
            if parts.canvas is None and parts.size not in {None, image.size}:
                raise ImageError(f"its headers disagree about its size, {parts.size} and {image.size}")
            if image.info.get("compression") in {1, 2} and kind.name == "BMP":
                raise ImageError("run-length compressed BMP files are not accepted; save it as PNG")
            plain = parts.plain and image.mode == "RGB"
            image.load()
            pixels = canonical(image, parts.orientation, parts.canvas)
            del image  # it takes more than the pixels, which are copied once more
            return cls(pixels, kind.name, plain)
        except (ImageTooLargeError, Image.DecompressionBombError) as error:  # Pillow's own limit, for WebP
            raise ImageTooLargeError(str(error)) from error
        except Exception as error:  # the decoders raise a dozen types on malformed files: fail closed on all
            detail = str(error)[:200] or type(error).__name__
            remedy = "" if isinstance(error, ImageError) else f": {DAMAGED}"
            raise ImageError(f"the {kind.name} image cannot be decoded ({detail}){remedy}") from error

    @classmethod
    def _from_pil(cls, image: Image.Image, limits: ImageLimits) -> InputImage:
        limits.check_size(*image.size)
        try:
            with _alone_with(image):
                image.load()  # which may tell size, mode and orientation anew
                limits.check_size(*image.size)
                exif = image.info.get("exif")
                orientation = orientation_of(exif) if isinstance(exif, bytes) else 1
                changing = {"icc_profile", "gamma", "chromaticity", "transparency"}
                plain = image.mode == "RGB" and orientation == 1 and changing.isdisjoint(image.info)
                return cls(canonical(image, orientation), image.format or "PIL", plain)
        except ImageError:
            raise
        except Exception as error:
            detail = str(error)[:200] or type(error).__name__
            raise ImageError(f"the PIL image cannot be read ({detail}); load it before passing it") from error

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, in Pillow's order (`pixels.shape` has them the other way round)."""
        return self.width, self.height

    @once
    def sha256(self) -> str:
        """Digest of height, width and pixels, 64 hexadecimal digits; no metadata or encoding enters."""
        digest = hashlib.sha256(struct.pack("<QQ", self.height, self.width))
        digest.update(self.pixels.data)
        return digest.hexdigest()

    @once
    def _png(self) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG", compress_level=6)
        return file.getvalue()

    def png(self) -> bytes:
        """Return the picture as a plain PNG file: 8-bit RGB, no metadata; the same bytes at every call."""
        return self._png

    def data_url(self) -> str:
        """Return `png()` as a `data:image/png;base64,` URL."""
        return "data:image/png;base64," + base64.b64encode(self.png()).decode("ascii")

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, InputImage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __repr__(self) -> str:
        return f"InputImage({self.width}x{self.height} {self.format}, sha256={self.sha256[:12]}…)"

    def __reduce__(self) -> tuple[type[Self], tuple[NDArray[np.uint8], str, bool]]:
        return type(self), (self.pixels, self.format, self.plain)  # unpickled arrays would be writeable


def take_images(
    sources: ImageSource | Iterable[ImageSource], limits: ImageLimits = DEFAULT_LIMITS
) -> tuple[Taken, ...]:
    """Read one image or several into what the caller cannot change any more; files are not decoded yet.

    Each is read before the next one is drawn, since an iterator may hand out one buffer, or one PIL image, again and
    again with other content.

    Args:
        sources: one source as `InputImage.load` takes it, or an iterable of them, of which at most one more
            than `limits.max_count` are drawn.
        limits: what is allowed.

    Raises:
        TooManyImagesError: there are more than `limits.max_count`.
        ImageError: as `InputImage.load`, for the first image that cannot be read; the message says which.
    """
    listed = _listed(sources)
    count = len(listed) if isinstance(listed, tuple) else None
    limits.check_count(count or 0)
    taken: list[Taken] = []
    for number, source in enumerate(listed, 1):
        limits.check_count(number)
        with _named(number, count):
            taken.append(_take(source, limits))
    return tuple(taken)


def load_images(
    sources: ImageSource | Iterable[ImageSource],
    limits: ImageLimits = DEFAULT_LIMITS,
) -> tuple[InputImage, ...]:
    """Read one image or several: `take_images`, decoded.

    Raises:
        TooManyImagesError: there are more than `limits.max_count`; no file is decoded then.
        ImageError: as `InputImage.load`, for the first image that cannot be read; the message says which.
    """
    listed = _listed(sources)
    if isinstance(listed, tuple) and any(source is sources for source in listed):  # one source, no list
        return tuple(InputImage.load(source, limits) for source in listed)
    taken = take_images(listed, limits)
    images = []
    for number, source in enumerate(taken, 1):
        with _named(number, len(taken)):
            images.append(InputImage.load(source, limits))
    return tuple(images)


def keep_still(
    sources: ImageSource | Iterable[ImageSource], limits: ImageLimits = DEFAULT_LIMITS
) -> Iterable[ImageSource]:
    """Return sources that wait for `take_images` unchanged, at the price of copying memory, not of decoding.

    Lists, buffers, arrays and PIL images in memory are copied. Files, images opened from them and iterators stay as
    they are, and so does what is above the limits or cannot be copied: it will be refused.
    """
    listed = _listed(sources)
    if not isinstance(listed, tuple):
        return listed
    return tuple(_keep_still(source, limits) for source in listed[: limits.max_count + 1])


def _listed(sources: ImageSource | Iterable[ImageSource]) -> Iterable[ImageSource]:
    """Return one source or a list as a tuple, which nobody changes, and any other iterable as it is."""
    one = (bytes, bytearray, memoryview, str, os.PathLike, Image.Image, np.ndarray, InputImage)
    if isinstance(sources, one) or not isinstance(sources, Iterable):
        return (sources,)
    return tuple(sources) if isinstance(sources, list) else sources


def _keep_still(source: ImageSource, limits: ImageLimits) -> ImageSource:
    try:
        match source:
            case bytearray() | memoryview():
                limits.check_bytes(memoryview(source).nbytes)
                return bytes(source)
            case np.ndarray():
                limits.check_bytes(source.nbytes // 3 - limits.max_pixels)
                return source.copy()
            case Image.Image() if not isinstance(source, ImageFile.ImageFile):
                limits.check_size(*source.size)
                return source.copy()
    except Exception:  # noqa: BLE001 - whoever takes it meets the same error
        return source
    return source


@contextmanager
def _named(number: int, count: int | None) -> Iterator[None]:
    """Say in errors which of the images it is."""
    try:
        yield
    except ImageError as error:
        raise type(error)(f"image {number}{'' if count is None else f' of {count}'}: {error}") from error


@contextmanager
def _alone_with(image: Image.Image) -> Iterator[None]:
    """Keep other threads from an image, and from the file that it, and perhaps another image, is read from lazily.

    Pillow reads when pixels are first needed, and moves the file's position then: two threads at once get errors, or
    other pixels.
    """
    with ExitStack() as held:
        held.enter_context(_PIL_LOCKS.holding(image))
        file = getattr(image, "fp", None)
        if file is not None:
            held.enter_context(_PIL_LOCKS.holding(file))
        yield


def _take(source: ImageSource, limits: ImageLimits) -> Taken:
    """Read a source whole, once: a file's bytes, or pixels."""
    match source:
        case InputImage():
            limits.check_size(*source.size)
            return source
        case bytes() | bytearray() | memoryview():
            return _copied(source, limits)
        case Image.Image():
            return InputImage._from_pil(source, limits)
        case np.ndarray():
            limits.check_size(*(source.shape[1::-1] if source.ndim == 3 else (1, 1)))
            return InputImage(source)
        case str() if is_data_url(source):
            return _read_data_url(source, limits)
        case str() | os.PathLike():
            return _read_path(source, limits)
    raise ImageError(
        f"an image cannot be read from {type(source).__name__}; "
        "pass a file's bytes, its path, a data URL, a PIL image or an InputImage"
    )


# -------------------------------------------------------------------------------------- where bytes come from


def _copied(buffer: bytes | bytearray | memoryview, limits: ImageLimits) -> bytes:
    try:
        view = memoryview(buffer)  # while it is held a bytearray keeps its size
    except ValueError as error:
        raise ImageError(f"the buffer cannot be read ({error}); pass it before it is released") from error
    limits.check_bytes(view.nbytes)
    return bytes(view)


def _read_path(source: str | os.PathLike[str], limits: ImageLimits) -> bytes:
    """Return the content of a regular file, of which at most one byte more than allowed is read."""
    name = os.fsdecode(source)
    shown = repr(name if len(name) <= 80 else name[:77] + "...")
    if isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]*://", name, re.IGNORECASE):
        raise ImageError(f"remote images are not fetched, like {shown}; pass the image's bytes or a data URL")
    try:
        status = Path(name).stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device could block, or never end
            raise ImageError(f"{shown} is not a regular file; pass the path of an image file")
        limits.check_bytes(status.st_size)
        with Path(name).open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: zero bytes or characters that no path can have
        raise ImageError(
            f"the image file {shown} cannot be read ({plainly(error)}); pass the path of a readable image file, its "
            "bytes, or a data URL ('data:image/png;base64,' before base64 text)"
        ) from error
    limits.check_bytes(len(data))
    return data


def is_data_url(url: str) -> bool:
    """Whether a URL holds what it names; white space and control characters before it do not count, as in browsers."""
    return _DATA_URL.match(url) is not None


def _read_data_url(url: str, limits: ImageLimits) -> bytes:
    """Return the content of a data URL (RFC 2397, base64 as in the WHATWG Fetch and Infra standards)."""
    scheme = _DATA_URL.match(url)
    if scheme is None:
        raise ImageError("not a data URL: it must begin with 'data:'; remote images are not fetched")
    # Before any work: a byte takes at most four characters, base64 itself percent-encoded, plus white space.
    limits.check_bytes((len(url) - 1024) // 4)
    head, comma, body = url[scheme.end() :].partition(",")
    if not comma:
        raise ImageError("the data URL has no comma before its content; write 'data:image/png;base64,' first")
    if not body.isascii():
        raise ImageError("the data URL has characters outside ASCII; encode the image's bytes as base64")
    if body.count("%") > _MAX_ESCAPES:  # each costs a hundred bytes of memory to undo
        raise ImageError(f"the data URL has more than {_MAX_ESCAPES} percent escapes; encode the image as base64")
    content = unquote_to_bytes(body)
    if not re.search(r"; *base64 *$", head, re.IGNORECASE):
        limits.check_bytes(len(content))
        return content
    content = content.translate(None, b" \t\n\r\f")
    if len(content) % 4 == 0:
        content = re.sub(rb"={1,2}\Z", b"", content)
    limits.check_bytes(len(content) * 3 // 4)
    try:
        if len(content) % 4 == 1 or b"=" in content:
            raise binascii.Error("wrong length or padding")
        return base64.b64decode(content + b"=" * (-len(content) % 4), validate=True)
    except binascii.Error as error:
        raise ImageError(
            f"the data URL's base64 is malformed ({error}); encode the bytes with the standard alphabet"
        ) from error
