"""Draws the world's signs: one word near the centre of a faintly textured board.

Fonts come from matplotlib and Pillow. Those of the held-out signs, and their backgrounds, never occur in the
training of the bundled model.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from guardrail.bundled.world import WORDS

Split = Literal["train", "held_out"]
Floats = NDArray[np.float64]
Pattern = Callable[[np.random.Generator, Floats, Floats], Floats]

DEFAULT_FONT: Final = "Aileron"
"""The font inside Pillow (`ImageFont.load_default`)."""

FONTS: Final[Mapping[Split, tuple[str, ...]]] = MappingProxyType(
    {
        "train": (
            "DejaVuSans",
            "DejaVuSans-Bold",
            "DejaVuSerif",
            "DejaVuSerif-Bold",
            "cmb10",
            "cmr10",
            "cmss10",
            "cmtt10",
        ),
        "held_out": ("STIXGeneral", "STIXGeneralBol", "DejaVuSansMono", DEFAULT_FONT),
    }
)
"""Fonts by split: files of matplotlib, and Pillow's own."""

_REFERENCE_SIZE: Final = 100
_STROKE: Final = 0.015
"""Width by which letters are emboldened, as a share of the font size."""
_HEIGHTS: Final = (0.3, 0.6)
"""Bounds of the height of the lettering, as shares of the picture's height."""


@dataclass(frozen=True)
class Sign:
    """A sign to draw."""

    word: str
    """The word, drawn in capitals; empty for a blank board."""
    contrast: float
    """Difference between the mean channel value of word and board, in [0, 1]."""
    brightness: float = 0.5
    """Mean channel value of the board, in [0, 1]."""
    dark: bool = True
    """Whether the word is darker than the board."""
    tint: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Offset of the three channels of both board and word, of mean 0."""
    ink: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Share of each channel in the contrast, of mean 1."""
    font: str = "DejaVuSans-Bold"
    """A name of `FONTS`, or the path of a font file."""
    width: float = 0.8
    """Width of the word as a share of the picture's, in (0, 1]."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Offset of the word from the centre to the right and down, as shares of the picture."""
    background: str = "plain"
    """A name of `BACKGROUNDS`."""
    texture: float = 0.0
    """Amplitude of the background pattern, in channel values."""
    seed: int = 0
    """Seed of the background pattern."""


def draw_sign(sign: Sign, size: tuple[int, int] = (512, 512)) -> Image.Image:
    """Draw a sign; equal signs give equal pixels.

    Args:
        sign: what to draw.
        size: width and height in pixels; 256 to 1024 suits the model, and need not be square.

    Returns:
        An RGB picture.
    """
    board, word = colours(sign)
    canvas = board + sign.texture * pattern(sign.background, sign.seed, size)[..., None]
    mask = word_mask(sign, size)[..., None]
    pixels = np.clip(canvas * (1 - mask) + word * mask, 0, 1)
    return Image.fromarray(np.rint(pixels * 255).astype(np.uint8))


def sample_sign(
    rng: np.random.Generator,
    split: Split,
    *,
    words: Sequence[str] | None = None,
    contrast: tuple[float, float] = (0.25, 0.9),
) -> Sign:
    """Draw a random sign of a split.

    Args:
        rng: source of randomness.
        split: which fonts and backgrounds to use.
        words: words to choose from; all words of the world by default.
        contrast: bounds of the contrast, which is uniform between them.
    """
    value = float(rng.uniform(*contrast))
    dark = bool(rng.random() < 0.5)
    low, high = (value, 1.0) if dark else (0.0, 1.0 - value)
    margin = min(0.05, (high - low) / 2)
    return Sign(
        word=str(rng.choice(list(WORDS if words is None else words))),
        contrast=value,
        brightness=float(rng.uniform(low + margin, high - margin)),
        dark=dark,
        tint=_channels(rng, 0.05, mean=0.0),
        ink=_channels(rng, 0.15, mean=1.0),
        font=str(rng.choice(FONTS[split])),
        width=float(rng.uniform(0.76, 0.92)),
        shift=(float(rng.uniform(-0.02, 0.02)), float(rng.uniform(-0.03, 0.03))),
        background=str(rng.choice(list(BACKGROUNDS[split]))),
        texture=float(rng.uniform(0.0, 0.2) * max(value, 0.1)),
        seed=int(rng.integers(2**31)),
    )


def colours(sign: Sign) -> tuple[Floats, Floats]:
    """Return the mean colour of the board and the colour of the word, each of shape (3,) and near [0, 1]."""
    board = sign.brightness + np.array(sign.tint)
    step = -sign.contrast if sign.dark else sign.contrast
    return board, board + step * np.array(sign.ink)


def word_mask(sign: Sign, size: tuple[int, int]) -> Floats:
    """Return how much of each pixel the word covers, in [0, 1], of shape (height, width)."""
    mask = Image.new("L", size)
    if sign.word:
        letters = _letters(sign, size)
        room = [(whole - part) / 2 for whole, part in zip(size, letters.size, strict=True)]
        offsets = (max(-r, min(r, s * n)) for r, s, n in zip(room, sign.shift, size, strict=True))
        x, y = (round(r + offset) for r, offset in zip(room, offsets, strict=True))
        mask.paste(letters, (x, y))
    return np.asarray(mask, dtype=np.float64) / 255


def pattern(background: str, seed: int, size: tuple[int, int]) -> Floats:
    """Return a background pattern in [-1, 1], of mean about 0 and shape (height, width)."""
    width, height = size
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    family = {**BACKGROUNDS["train"], **BACKGROUNDS["held_out"]}[background]
    return family(np.random.default_rng(seed), x, y)


def _channels(rng: np.random.Generator, spread: float, mean: float) -> tuple[float, float, float]:
    """Return three random numbers with the given mean, off it by about `spread`."""
    values = rng.uniform(-spread, spread, 3)
    red, green, blue = (values - values.mean() + mean).tolist()
    return red, green, blue


def _letters(sign: Sign, size: tuple[int, int]) -> Image.Image:
    """Return the word as a grey picture without margins, stretched to the height that lettering must have."""
    text = sign.word.upper()
    left, _, right, _ = _font(sign.font, _REFERENCE_SIZE).getbbox(text, stroke_width=_STROKE * _REFERENCE_SIZE)
    font_size = max(4, round(sign.width * size[0] / (right - left) * _REFERENCE_SIZE))
    font, stroke = _font(sign.font, font_size), _STROKE * font_size
    left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
    letters = Image.new("L", (math.ceil(right - left), math.ceil(bottom - top)))
    ImageDraw.Draw(letters).text((-left, -top), text, fill=255, font=font, stroke_width=stroke)
    low, high = (round(share * size[1]) for share in _HEIGHTS)
    return letters.resize((min(letters.width, size[0]), min(high, max(low, letters.height))))


@lru_cache(maxsize=256)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load a font by its name or path."""
    if name == DEFAULT_FONT:
        return ImageFont.load_default(size)
    path = name if Path(name).suffix else _matplotlib_fonts() / f"{name}.ttf"
    return ImageFont.truetype(path, size)


def _matplotlib_fonts() -> Path:
    """Return the folder of matplotlib's fonts, found without importing matplotlib."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the fonts of the signs come with matplotlib, which is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def _turn(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Return a coordinate along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5))


def _plain(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:  # noqa: ARG001
    return np.zeros_like(x)


def _gradient(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    return _turn(rng, x, y) / 0.71


def _stripes(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    phase = rng.uniform(4, 20) * _turn(rng, x, y)
    return np.where(phase % 1 < 0.5, 1.0, -1.0)


def _checks(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    cells = rng.uniform(3, 14)
    return np.where((np.floor(cells * x) + np.floor(cells * y)) % 2 == 0, 1.0, -1.0)


def _smooth(rng: np.random.Generator, x: Floats, cells: int) -> Floats:
    """Return random values on a coarse grid, interpolated to the shape of `x`."""
    grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    height, width = x.shape
    return np.asarray(grid.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)


def _blobs(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:  # noqa: ARG001
    return _smooth(rng, x, int(rng.integers(4, 12)))


def _speckle(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:  # noqa: ARG001
    return _smooth(rng, x, int(rng.integers(40, 80)))


def _bricks(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    rows = rng.uniform(6, 12)
    row = np.floor(rows * y)
    across = (rows / 2 * x + 0.5 * (row % 2)) % 1
    joint = ((rows * y) % 1 < 0.12) | (across < 0.06)
    return np.where(joint, 1.0, -0.2)


def _rings(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    centre = rng.uniform(0, 1, 2)
    radius = np.hypot(x - centre[0], y - centre[1])
    return np.asarray(np.sin(2 * np.pi * rng.uniform(4, 12) * radius))


def _waves(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    bend = 0.3 * np.sin(2 * np.pi * (rng.uniform(1, 3) * x + rng.uniform()))
    return np.asarray(np.sin(2 * np.pi * (rng.uniform(3, 8) * y + bend)))


def _planks(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    count = int(rng.integers(4, 9))
    shades = rng.uniform(-1, 1, count)
    grain = 0.3 * np.sin(2 * np.pi * (25 * y + np.sin(5 * x + rng.uniform(0, 6))))
    return np.asarray(0.7 * shades[np.minimum((count * y).astype(int), count - 1)] + grain)


BACKGROUNDS: Final[Mapping[Split, Mapping[str, Pattern]]] = MappingProxyType(
    {
        "train": MappingProxyType(
            {
                "plain": _plain,
                "gradient": _gradient,
                "stripes": _stripes,
                "checks": _checks,
                "blobs": _blobs,
                "speckle": _speckle,
            }
        ),
        "held_out": MappingProxyType({"bricks": _bricks, "rings": _rings, "waves": _waves, "planks": _planks}),
    }
)
"""Background families by split."""
