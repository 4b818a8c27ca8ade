"""Nothing of a caller's is read twice: it is copied once, alone, and only the copy is hashed, certified and sent."""

from __future__ import annotations

import asyncio
import copy
import io
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

from guardrail import Guard, ImageLimits, InputImage, Reason, SmoothedClassifier, Smoothing
from guardrail.errors import ImageError, TooManyImagesError
from guardrail.images.pictures import keep_still, load_images, take_images
from guardrail.stores import MemoryStore
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

SIDE = 8
MIDDLE = SIDE * SIDE * 3 / 2.0
BRIGHT = np.full((SIDE, SIDE, 3), 250, np.uint8)  # harmless to the model of these tests
DARK = np.full((SIDE, SIDE, 3), 5, np.uint8)  # harmful
PHOTO = np.random.default_rng(3).integers(0, 256, (600, 800, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def guarded(store: MemoryStore | None = None) -> Guard:
    model = HalfSpaceVLM(MIDDLE, resolution=(SIDE, SIDE))
    return Guard(model, ORACLE, smoothing=Smoothing(samples=20, key=b"the key of these tests"), store=store)


def together(number: int, work: Callable[[], Any]) -> list[Any]:
    """Does the same in several threads that start at once."""
    ready = threading.Barrier(number)

    def begin(_: int) -> Any:
        ready.wait(10)
        return work()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begin, range(number)))


# ------------------------------------------------------------------------------ one PIL image, many threads


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
    ],
)
@pytest.mark.parametrize("opened", ["path", "file", "bytes"])
def test_an_image_opened_lazily_gives_every_thread_its_pixels(
    kind: str, options: dict[str, Any], opened: str, tmp_path: Path
) -> None:
    data = encoded(PHOTO, kind, **options)
    path = tmp_path / "photo"
    path.write_bytes(data)
    with Image.open(io.BytesIO(data)) as alone:
        expected = InputImage.load(alone).sha256
    for _ in range(8):
        with path.open("rb") as file:
            image = Image.open({"path": path, "file": file, "bytes": io.BytesIO(data)}[opened])
            assert {loaded.sha256 for loaded in together(4, lambda image=image: InputImage.load(image))} == {expected}
            image.close()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_images_that_share_a_file_give_every_thread_their_pixels(kind: str) -> None:
    data = encoded(PHOTO, kind)
    expected = InputImage.load(Image.open(io.BytesIO(data))).sha256
    for _ in range(8):
        file = io.BytesIO(data)
        images = [Image.open(file) for _ in range(4)]
        images[3] = copy.copy(images[2])  # a copy of the object has the same file too
        waiting = iter(images)
        assert {loaded.sha256 for loaded in together(4, lambda it=waiting: InputImage.load(next(it)))} == {expected}


def test_an_image_without_a_file_is_read_by_one_thread_at_a_time() -> None:
    inside, most = 0, 0

    class Generated(Image.Image):
        """Makes its pixels when they are first needed, as plugins do."""

        def load(self) -> Any:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1
            return super().load()

    image = Generated()
    image.__setstate__(Image.fromarray(PHOTO).__getstate__())
    assert set(together(4, lambda: InputImage.load(image))) == {InputImage(PHOTO)}
    assert most == 1


@pytest.mark.slow
def test_a_harmful_image_opened_lazily_is_blocked_in_every_request(tmp_path: Path) -> None:
    path = tmp_path / "harmful.jpg"
    path.write_bytes(encoded(np.full((600, 800, 3), 5, np.uint8), "JPEG"))
    with guarded() as guard:
        for _ in range(30):
            with Image.open(path) as image:
                decisions = guard.check_many([(image, f"q{i}") for i in range(4)])
            assert {decision.reasons for decision in decisions} == {(Reason.CERTIFIED_HARMFUL,)}


def test_different_images_do_not_wait_for_each_other() -> None:
    """One image's file lets nothing through until another's has been read: with one lock for all it would for ever."""
    other_done = threading.Event()

    class Slow(io.BytesIO):
        waits = False

        def read(self, size: int | None = -1) -> bytes:
            assert not self.waits or other_done.wait(5.0)
            return super().read(size)

    slow = Slow(encoded(PHOTO))
    first, second = Image.open(slow), Image.open(io.BytesIO(encoded(PHOTO)))
    slow.waits = True
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(InputImage.load, first)
        loaded = pool.submit(InputImage.load, second).result(5.0)
        other_done.set()
        assert waiting.result(5.0) == loaded


def test_what_an_image_says_only_when_it_is_read_counts() -> None:
    """The orientation of a PNG may stand behind its pixels: Pillow finds it on reading them."""
    data = encoded(PHOTO)
    block = Image.Exif()
    block[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "PNG", exif=block.tobytes())
    start = file.getvalue().index(b"eXIf") - 4
    length = int.from_bytes(file.getvalue()[start : start + 4]) + 12
    late = data[:-12] + file.getvalue()[start : start + length] + data[-12:]
    assert InputImage.load(Image.open(io.BytesIO(late))).size == (600, 800)
    assert InputImage.load(late) == InputImage.load(Image.open(io.BytesIO(late)))


def test_a_closed_or_cut_file_is_a_typed_error() -> None:
    closed = io.BytesIO(encoded(PHOTO))
    image = Image.open(closed)
    closed.close()
    cut = Image.open(io.BytesIO(encoded(PHOTO)[:5000]))
    released = memoryview(encoded(PHOTO))
    released.release()
    for source in (image, cut, released):
        with pytest.raises(ImageError):
            InputImage.load(source)
        with guarded() as guard:
            assert guard.check(source, "?").reasons == (Reason.UNREADABLE_IMAGE,)


# ---------------------------------------------------------------------- what changes after it was passed


class Meddling(MemoryStore):
    """A store that lets the caller act between two steps of a check: whenever it is asked for a file."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def get_alias(self, file: str) -> str | None:
        found = super().get_alias(file)
        self._act()
        return found


def test_a_buffer_refilled_during_a_check_is_certified_as_it_was_passed() -> None:
    bright, dark = encoded(BRIGHT, "BMP"), encoded(DARK, "BMP")
    for wrap in (lambda data: data, memoryview):
        buffer = bytearray(dark)

        def refill(buffer: bytearray = buffer) -> None:
            buffer[:] = bright

        with guarded(Meddling(refill)) as guard:
            decision = guard.check(wrap(buffer), "?")
            assert bytes(buffer) == bright
            assert decision.reasons == (Reason.CERTIFIED_HARMFUL,)
            assert decision.certificate is not None
            assert decision.certificate.image_sha256 == (InputImage(DARK).sha256,)
            assert guard.check(bright, "?").reasons == (), "and its name is not given to what came later"
            assert guard.check(dark, "?").blocked


def test_a_file_replaced_during_a_check_is_certified_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(DARK))
    with guarded(Meddling(lambda: path.write_bytes(encoded(BRIGHT)) and None)) as guard:
        assert guard.check(path, "?").reasons == (Reason.CERTIFIED_HARMFUL,)
        assert guard.check(path, "?").reasons == ()


@pytest.mark.parametrize("kind", ["array", "pil", "pil over the array", "list"])
def test_what_is_changed_after_a_request_was_made_is_drawn_on_as_it_was(kind: str) -> None:
    classifier = SmoothedClassifier(HalfSpaceVLM(MIDDLE, resolution=(SIDE, SIDE)), ORACLE, Smoothing(key=b"k" * 32))
    array = np.dstack([DARK, np.full((SIDE, SIDE, 1), 255, np.uint8)]) if kind == "pil over the array" else DARK.copy()
    image = Image.frombuffer("RGBA", (SIDE, SIDE), array, "raw", "RGBA", 0, 1) if array.shape[2] == 4 else None
    image = image or Image.fromarray(array)
    listed: list[Any] = [array]
    request = classifier.request({"array": array, "list": listed}.get(kind, image), "?")  # type: ignore[arg-type]
    array[...] = 255
    listed[:] = [BRIGHT]
    image.paste("white", (0, 0, SIDE, SIDE))
    assert request.hashes == (InputImage(DARK).sha256,)
    np.testing.assert_array_equal(request.pictures[0].pixels, DARK)
    assert classifier.run(request).verdict == "harmful"


def test_pixels_handed_over_belong_to_the_image_alone() -> None:
    """Also where their memory is read-only for good: shape and strides of an array can be set in place."""
    for given in (np.ndarray(PHOTO.shape, np.uint8, data) for data in (PHOTO.tobytes(), PHOTO.tobytes() + b"more")):
        image = InputImage(given)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            given.shape = (800, 600, 3)
        assert image.pixels.shape == PHOTO.shape
        assert image == InputImage(PHOTO)


def test_an_iterator_that_fills_one_buffer_again_shows_every_picture() -> None:
    def refilled() -> Iterator[bytearray]:
        buffer = bytearray()
        for pixels in (DARK, BRIGHT, BRIGHT):
            buffer[:] = encoded(pixels, "BMP")
            yield buffer

    def painted() -> Iterator[np.ndarray]:
        array = np.empty((SIDE, SIDE, 3), np.uint8)
        for pixels in (DARK, BRIGHT, BRIGHT):
            array[...] = pixels
            yield array

    expected = [InputImage(DARK), InputImage(BRIGHT), InputImage(BRIGHT)]
    file = io.BytesIO()
    frames = [Image.fromarray(pixels) for pixels in (DARK, BRIGHT, DARK)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    animation = ImageSequence.Iterator(Image.open(file))  # one object, moved on
    for source, pictures in ((refilled(), expected), (painted(), expected)):
        assert list(load_images(source)) == pictures
    shades = [int(picture.pixels.mean()) for picture in load_images(animation)]
    assert shades == [5, 250, 5]
    with guarded() as guard:
        decision = guard.check(painted(), "?")
    assert decision.certificate is not None
    assert decision.certificate.image_sha256 == tuple(picture.sha256 for picture in expected)


def test_a_list_is_counted_before_anything_is_read_and_an_iterator_no_further_than_it_must(tmp_path: Path) -> None:
    pipe = tmp_path / "no such file"
    for sources in ([pipe] * 9, (pipe,) * 9):
        with pytest.raises(TooManyImagesError):
            take_images(sources)
    with pytest.raises(ImageError, match="image 1: "):
        take_images(iter([pipe, b"never read"]))
    with pytest.raises(ImageError, match="image 2 of 2: "):
        take_images([encoded(BRIGHT), pipe])
    assert take_images([]) == take_images(iter(())) == ()


# -------------------------------------------------------------------------------- waiting for a thread


class OneThread:
    """An event loop's only thread for checks, which is busy until it is let go."""

    def __init__(self) -> None:
        self.free = threading.Event()

    async def __aenter__(self) -> OneThread:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        self._busy = loop.run_in_executor(None, self.free.wait, 10)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.free.set()
        await self._busy


def _array() -> tuple[Any, Callable[[], None]]:
    array = DARK.copy()
    return array, lambda: array.fill(250)


def _buffer() -> tuple[Any, Callable[[], None]]:
    buffer = bytearray(encoded(DARK, "BMP"))

    def refill() -> None:
        buffer[:] = encoded(BRIGHT, "BMP")

    return buffer, refill


def _view() -> tuple[Any, Callable[[], None]]:
    buffer, refill = _buffer()
    return memoryview(buffer), refill


def _image() -> tuple[Any, Callable[[], None]]:
    image = Image.fromarray(DARK)
    return image, lambda: image.paste((250, 250, 250), (0, 0, SIDE, SIDE))


def _list() -> tuple[Any, Callable[[], None]]:
    listed = [DARK]
    return listed, listed.clear


def _list_of_buffers() -> tuple[Any, Callable[[], None]]:
    array = DARK.copy()
    return [array], lambda: array.fill(250)


@pytest.mark.parametrize("make", [_array, _buffer, _view, _image, _list, _list_of_buffers])
async def test_what_is_used_again_while_a_check_waits_for_a_thread_is_checked_as_it_was(
    make: Callable[[], tuple[Any, Callable[[], None]]],
) -> None:
    source, use_again = make()
    with guarded() as guard:
        async with OneThread() as thread:
            check = asyncio.create_task(guard.acheck(source, "?"))
            await asyncio.sleep(0.01)
            use_again()
            thread.free.set()
            assert (await check).reasons == (Reason.CERTIFIED_HARMFUL,)


async def test_what_cannot_be_copied_is_still_a_decision() -> None:
    released = memoryview(encoded(BRIGHT))
    released.release()
    sources: Sequence[Any] = (
        released,
        np.zeros((2, 2)),
        np.zeros((2, 2, 3), object),
        Image.new("F", (3, 3)),
        Image.new("RGB", (0, 3)),
        3,
        None,
    )
    with guarded() as guard:
        for source in sources:
            assert (await guard.acheck(source, "?")).reasons == (Reason.UNREADABLE_IMAGE,), source
        assert (await guard.acheck([BRIGHT] * 9, "?")).reasons == (Reason.TOO_MANY_IMAGES,)
        assert (await guard.acheck(bytearray(21 * 2**20), "?")).reasons == (Reason.IMAGE_TOO_LARGE,)


def test_keeping_still_costs_no_decoding_and_reads_no_file(tmp_path: Path) -> None:
    path, lazy = tmp_path / "none.png", Image.open(io.BytesIO(encoded(PHOTO)))
    drawn = iter([DARK])
    assert list(keep_still([path, lazy])) == [path, lazy]
    assert lazy.tile, "not read yet"
    assert keep_still(drawn) is drawn
    large = bytearray(100)
    assert next(iter(keep_still(large, ImageLimits(max_bytes=99)))) is large
