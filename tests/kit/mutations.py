"""Image files, and what chance makes of them: the same mutants in the tests and in the benchmark."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

_SIZES = (b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\x00\x00\xff\xff")


def seeds() -> dict[str, bytes]:
    """One small file of each kind that is read, and of some that are not."""
    rng = np.random.default_rng(0)
    rough = Image.fromarray(rng.integers(0, 256, (24, 31, 3), dtype=np.uint8))
    clear = rough.convert("RGBA")
    clear.putalpha(Image.fromarray(rng.integers(0, 256, (24, 31), dtype=np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    made: dict[str, bytes] = {}

    def save(name: str, image: Image.Image, form: str, **options: object) -> None:
        file = io.BytesIO()
        image.save(file, form, **options)  # type: ignore[arg-type]
        made[name] = file.getvalue()

    save("png", rough, "PNG", exif=exif)
    save("png with alpha", clear, "PNG")
    save("png with palette", rough.quantize(16), "PNG", transparency=3)
    save("png of 16 bits", Image.fromarray(rng.integers(0, 65_536, (24, 31)).astype(np.uint16)), "PNG")
    save("animated png", rough, "PNG", save_all=True, append_images=[rough.rotate(90)])
    save("jpeg", rough, "JPEG", exif=exif)
    save("progressive jpeg", rough, "JPEG", progressive=True)
    save("cmyk jpeg", rough.convert("CMYK"), "JPEG")
    save("webp", rough, "WEBP", exif=exif)
    save("lossless webp", clear, "WEBP", lossless=True)
    save("animated webp", rough, "WEBP", save_all=True, append_images=[rough.rotate(90)])
    save("gif", rough.quantize(16), "GIF")
    save("animated gif", rough.quantize(16), "GIF", save_all=True, append_images=[rough.rotate(90).quantize(16)])
    save("bmp", rough, "BMP")
    save("bmp with palette", rough.quantize(16), "BMP")
    save("tiff", rough, "TIFF")
    save("ico", rough.resize((16, 16)), "ICO")
    return made


def mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield files with bits flipped, bytes replaced, parts cut out, repeated, or taken from another file."""
    rng, files = np.random.default_rng(seed), seeds()
    names = list(files)
    for number in range(count):
        name = names[number % len(names)]
        data = bytearray(files[name])
        for _ in range(int(rng.integers(1, 5))):
            if not data:
                break
            place, length = int(rng.integers(len(data))), int(rng.geometric(0.05))
            match int(rng.integers(7)):
                case 0:
                    data[place] ^= 1 << int(rng.integers(8))
                case 1:
                    data[place] = int(rng.integers(256))
                case 2:
                    del data[place : place + length]
                case 3:
                    data[place:place] = data[place : place + length] * int(rng.integers(1, 20))
                case 4:
                    data[place : place + length] = rng.bytes(length)
                case 5:  # where headers keep their sizes
                    start = int(rng.integers(min(len(data), 64)))
                    data[start : start + 4] = _SIZES[int(rng.integers(len(_SIZES)))]
                case _:
                    other = files[names[int(rng.integers(len(names)))]]
                    data[place:] = other[int(rng.integers(len(other))) :]
        yield name, bytes(data)
