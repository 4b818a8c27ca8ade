"""Trains the bundled denoiser on a CPU core: `python -m guardrail.bundled.training.denoiser`.

Two phases, on signs composed as for the bundled model itself, at noise levels up to twice those which that model was
trained on: first the squared error to the clean picture, then also that of what the model's vision tower and
projector make of it (the stability objective of Salman et al. 2020, on features, without labels). The model itself
is not changed.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from torch import Tensor, autograd
from torch.nn import functional

from guardrail.bundled.denoiser import SPREAD, WEIGHTS, SignDenoiser
from guardrail.bundled.model import CHECKPOINT
from guardrail.bundled.training.model import HARDEST, MEAN, STD, Level, Pool, compose, draw_labels, draw_pool

LOG: Final = logging.getLogger(__name__)
SIGMAS: Final = (0.1, 1.1)
"""Bounds of the noise levels in training, uniform between them."""
CLEAN: Final = Level(HARDEST.contrast, 0.0)


class Tower:
    """The frozen part of the bundled model that sees: pictures in [0, 1] to the tokens that its decoder reads."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForImageTextToText

        model: Any = AutoModelForImageTextToText.from_pretrained(folder)
        model.requires_grad_(False)
        self._vision, self._projector = model.model.vision_tower, model.model.multi_modal_projector

    def __call__(self, pictures: Tensor) -> Tensor:
        """Return the tokens of pictures, [n, tokens, width]."""
        pixels = (pictures - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            tokens: Tensor = self._projector(self._vision(pixel_values=pixels).last_hidden_state)
        return tokens.float()


def sample(pool: Pool, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return clean pictures and noisy ones, [n, 3, height, width], and their noise levels, [n]."""
    pixels = compose(pool, draw_labels(n, generator), CLEAN, generator)
    clean = pixels * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    low, high = SIGMAS
    sigma = torch.rand(n, generator=generator) * (high - low) + low
    return clean, clean + sigma.view(-1, 1, 1, 1) * torch.randn(clean.shape, generator=generator), sigma


def train(output: Path, *, seed: int, plain: int, stable: int, batch: int, tower: Path = CHECKPOINT) -> None:
    """Train a denoiser and save its weights in half precision.

    Args:
        output: file to write.
        seed: of all randomness.
        plain: steps of the first phase.
        stable: steps of the second phase.
        batch: pictures per step.
        tower: folder of the model before which it will stand.
    """
    from safetensors.torch import save_file

    began = time.monotonic()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    pool = draw_pool(np.random.default_rng(seed))
    sees, total = Tower(tower), plain + stable
    denoiser = SignDenoiser().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    LOG.info("%d parameters", sum(parameter.numel() for parameter in denoiser.parameters()))
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1.0, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=total, pct_start=0.1)
    means = torch.zeros(2)
    for step in range(total):
        clean, noisy, sigma = sample(pool, batch, generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            estimate = denoiser(noisy, sigma)
        weight = (1 / sigma**2 + 1 / SPREAD**2).view(-1, 1, 1, 1)
        pixel_loss = (weight * (estimate.float() - clean) ** 2).mean()
        token_loss = torch.zeros(())
        if step >= plain:
            with torch.no_grad():
                wanted = sees(clean)
            token_loss = functional.mse_loss(sees(estimate.float()), wanted) / wanted.var()
        autograd.backward(pixel_loss + token_loss)
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        means += torch.stack((pixel_loss.detach(), token_loss.detach()))
        if (step + 1) % 25 == 0:
            LOG.info("step %d, %.0f s: pixels %.4f, tokens %.4f", step + 1, time.monotonic() - began, *means / 25)
            means.zero_()
    save_file({name: value.half().contiguous() for name, value in denoiser.state_dict().items()}, output)
    LOG.info("saved to %s after %.0f s", output, time.monotonic() - began)


def main(  # noqa: PLR0917 - typer reads options from the signature
    output: Annotated[Path, typer.Option(help="File to write.")] = WEIGHTS,
    seed: Annotated[int, typer.Option(help="Seed of all randomness.")] = 0,
    plain: Annotated[int, typer.Option(help="Steps on pixels alone.")] = 250,
    stable: Annotated[int, typer.Option(help="Steps on pixels and tokens.")] = 250,
    batch: Annotated[int, typer.Option(help="Pictures per step.")] = 32,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Train the denoiser that stands before the bundled model."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(threads)
    train(output, seed=seed, plain=plain, stable=stable, batch=batch)


if __name__ == "__main__":
    typer.run(main)
