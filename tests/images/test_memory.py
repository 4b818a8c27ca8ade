"""The largest picture that is accepted takes no more memory than the documentation says."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from guardrail.images import ImageLimits

LIMITS = ImageLimits()
WIDTH, HEIGHT = 8000, 5000
MOST, MOST_WEBP = 500, 800
"""MB: what is documented."""

_DECODE = """
import sys
from guardrail.certify.resize import resize
from guardrail.images import InputImage

def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) * 1024  # getrusage would count the parent's pages

before = peak()
picture = InputImage.load(sys.argv[1])
assert picture.size == (8000, 5000)
resize(picture.pixels, (336, 336))
print(peak() - before)
"""


def largest(channels: int, noisy_rows: int) -> Image.Image:
    """A picture of as many pixels as may be, in which noise makes the file large too."""
    pixels = np.full((HEIGHT, WIDTH, channels), 200, np.uint8)
    pixels[:noisy_rows] = np.random.default_rng(0).integers(0, 256, (noisy_rows, WIDTH, channels), np.uint8)
    return Image.fromarray(pixels)


def png(path: Path) -> None:
    largest(4, 620).save(path, "PNG", compress_level=1)


def jpeg(path: Path) -> None:
    largest(3, 1300).save(path, "JPEG", quality=90, progressive=True, subsampling=0)


def webp(path: Path) -> None:
    largest(4, 620).save(path, "WEBP", lossless=True, method=0, quality=0)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux's /proc")
@pytest.mark.parametrize(("save", "most"), [(png, MOST), (jpeg, MOST), (webp, MOST_WEBP)])
def test_the_largest_picture_takes_what_is_documented(save: Callable[[Path], None], most: int, tmp_path: Path) -> None:
    file = tmp_path / "largest"
    save(file)
    assert LIMITS.max_pixels == WIDTH * HEIGHT
    assert 0.8 < file.stat().st_size / LIMITS.max_bytes <= 1.0
    took = int(subprocess.run([sys.executable, "-c", _DECODE, file], capture_output=True, text=True, check=True).stdout)
    assert WIDTH * HEIGHT * 3 < took < most * 1e6
