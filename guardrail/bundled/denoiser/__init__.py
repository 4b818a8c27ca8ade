"""A small denoiser for the bundled model, trained by `bundled.training.denoiser`, to show denoised smoothing at work.

It was trained on the signs that the bundled model was trained on, and knows nothing else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from guardrail.errors import ModelError
from guardrail.models.base import VisionLanguageModel
from guardrail.models.denoised import DenoisedVLM

WEIGHTS: Final = Path(__file__).parent / "weights.safetensors"
SPREAD: Final = 0.3
"""Standard deviation of clean pixels about mid-grey, for the preconditioning."""
_SHRINK: Final = 4
_MULTIPLE: Final = 2 * _SHRINK


class SignDenoiser(nn.Module):
    """A U-Net on blocks of 4 × 4 pixels, with the noise level as one more channel.

    Preconditioned as in Karras et al. 2022 (section 5): it predicts what, added to a shrunken copy of the noisy
    picture, gives the clean one, so that it has little to do where there is little noise.

    Args:
        width: channels at a quarter of the resolution.
        deep: channels at an eighth of it.
    """

    def __init__(self, width: int = 40, deep: int = 80) -> None:
        super().__init__()
        pixels = 3 * _SHRINK**2
        self.stem = nn.Conv2d(pixels + 1, width, 3, padding=1)
        self.fine = _Block(width)
        self.down = nn.Conv2d(width, deep, 3, stride=2, padding=1)
        self.coarse = _Block(deep)
        self.up = nn.Conv2d(deep, width, 3, padding=1)
        self.merge = _Block(width)
        self.head = nn.Conv2d(width, pixels, 3, padding=1)
        nn.init.zeros_(self.head.weight)

    @classmethod
    def pretrained(cls, weights: Path = WEIGHTS) -> SignDenoiser:
        """Load trained weights.

        Raises:
            ModelError: the file is missing or holds other weights.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        denoiser = cls()
        try:
            denoiser.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelError(f"cannot load the denoiser's weights from {weights}: {error}") from error
        return denoiser.eval().requires_grad_(False)

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Estimate clean pictures.

        Args:
            noisy: x + δ, [n, 3, height, width], not clipped.
            sigma: standard deviation of δ in each picture, [n].

        Returns:
            Estimates of x, of the same shape, not clipped.
        """
        height, width = noisy.shape[-2:]
        padded = functional.pad(noisy - 0.5, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="replicate")
        level = sigma.view(-1, 1, 1, 1)
        total = level**2 + SPREAD**2
        blocks = functional.pixel_unshuffle(padded * total.rsqrt(), _SHRINK)
        level_channel = (level.log() / 4).expand(-1, 1, *blocks.shape[-2:])
        fine = self.fine(self.stem(torch.cat((blocks, level_channel), dim=1)))
        coarse = self.up(functional.interpolate(self.coarse(self.down(fine)), scale_factor=2.0))
        guess = functional.pixel_shuffle(self.head(self.merge(fine + coarse)), _SHRINK)
        clean = 0.5 + padded * SPREAD**2 / total + guess * level * SPREAD * total.rsqrt()
        return clean[..., :height, :width]


class _Block(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape."""
        change: Tensor = self.second(functional.silu(self.first(functional.silu(values))))
        return values + change


def denoised(model: VisionLanguageModel, weights: Path = WEIGHTS) -> DenoisedVLM:
    """Put the bundled denoiser before a model; it helps only the bundled one.

    Raises:
        ModelError: the weights cannot be loaded.
    """
    denoiser = SignDenoiser.pretrained(weights)
    with weights.open("rb") as file:
        revision = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return DenoisedVLM(model, denoiser, f"sign-denoiser@{revision}")
