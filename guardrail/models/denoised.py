"""A denoiser between the noise and any model: denoised smoothing (Salman et al. 2020, arXiv 2003.01908).

A model that was not trained on noisy pictures may see nothing in them, and what sees nothing is certified harmless.
A denoiser gives it pictures again, and costs no soundness: it works on `x + δ` and belongs to the smoothed model.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

from guardrail.errors import DEADLINE, ModelError
from guardrail.models.base import Answer, DenoisedDraw, Draw, ModelWrapper, VisionLanguageModel, aanswer, past
from guardrail.models.local.drawing import noisy_images

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Denoiser: TypeAlias = "Callable[[Tensor, Tensor], Tensor]"
"""Takes noisy pictures, [n, 3, height, width], not clipped, and the σ of each, [n]; returns estimates of the clean
ones, of the same shape. Each must depend on its own noisy picture alone, and on no state: draws are independent. A
torch module is one (put it in evaluation mode: batch statistics would tie draws together)."""


class DenoisedVLM(ModelWrapper):
    """Any model behind a denoiser.

    Args:
        model: answers the denoised draws.
        denoiser: see `Denoiser`; images of one size are denoised together, also those of different draws.
        name: of the denoiser, with its revision or hash: the verdict depends on it.
        device: torch device of the denoiser; None: CUDA where there is one, else the CPU. A module is moved there.
        batch_size: pictures per call of the denoiser.

    Raises:
        ModelError: no name, an impossible batch size, or a device that torch does not know.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        denoiser: Denoiser,
        name: str,
        *,
        device: str | None = None,
        batch_size: int = 64,
    ) -> None:
        import torch

        if not name or batch_size < 1:
            raise ModelError(f"the denoiser needs a name and a batch size of at least 1, got {name!r}, {batch_size}")
        try:
            self._device: torch.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        except RuntimeError as error:
            raise ModelError(f"no such device: {device!r}; try 'cpu'") from error
        if isinstance(denoiser, torch.nn.Module):
            if denoiser.training:
                raise ModelError(
                    f"denoiser {name!r} is in training mode: call its eval(), or it may tie draws together"
                )
            denoiser.to(self._device)
        super().__init__(model)
        self.model = model
        self._denoiser = denoiser
        self._denoiser_name = name
        self._batch_size = batch_size

    def __repr__(self) -> str:
        return f"DenoisedVLM({self.name!r})"

    @property
    def name(self) -> str:
        """The denoiser's name before the model's."""
        return f"{self._denoiser_name} > {self.model.name}"

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Denoise each draw and let the model answer it; draws not yet denoised at the deadline fail.

        Raises:
            ModelError: the denoiser fails or gives something else than pictures; the model cannot answer at all.
        """
        answers: list[Answer] = []
        for group in _groups(draws):
            if past(deadline):
                answers += [Answer.failure(DEADLINE)] * len(group)
            else:
                answers += self.model.answer(self._denoised(group), deadline)
        return answers

    async def aanswer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        """Answer each draw as `answer` does, denoising in a thread; cancelling it cancels what the model can cancel."""
        answers: list[Answer] = []
        for group in _groups(draws):
            if past(deadline):
                answers += [Answer.failure(DEADLINE)] * len(group)
            else:
                answers += await aanswer(self.model, await asyncio.to_thread(self._denoised, group), deadline)
        return answers

    def _denoised(self, draws: Sequence[Draw]) -> list[Draw]:
        """Denoise draws, all pictures of one size together. A model uses of a draw what a `DenoisedDraw` has."""
        noisy = noisy_images(draws, self._device)
        by_size: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
        for i, pictures in enumerate(noisy):
            for j, picture in enumerate(pictures):
                by_size[picture.shape].append((i, j))
        for places in by_size.values():
            for start in range(0, len(places), self._batch_size):
                batch = places[start : start + self._batch_size]
                clean = self._denoise([noisy[i][j] for i, j in batch], [draws[i].sigma for i, _ in batch])
                for (i, j), picture in zip(batch, clean, strict=True):
                    noisy[i][j] = picture
        denoised = [
            DenoisedDraw(draw.prompt, draw.sizes, draw.sigma, draw.index, draw.sampling_seed, pictures)
            for draw, pictures in zip(draws, noisy, strict=True)
        ]
        return cast("list[Draw]", denoised)

    def _denoise(self, pictures: Sequence[Tensor], sigmas: Sequence[float]) -> Tensor:
        """Return denoised pictures of one size, [n, height, width, 3]."""
        import torch

        values = torch.stack(list(pictures)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            clean = self._denoiser(values, torch.tensor(sigmas, dtype=torch.float32, device=self._device))
        if clean.shape != values.shape:
            raise ModelError(
                f"denoiser {self._denoiser_name!r} turned {tuple(values.shape)} into {tuple(clean.shape)}: "
                "it must keep the shape of the pictures"
            )
        return clean.permute(0, 2, 3, 1).float().contiguous()


_GROUP = 512
"""Draws denoised before the model answers them: bounds memory, and leaves the model's own batches whole."""


def _groups(draws: Sequence[Draw]) -> Iterator[Sequence[Draw]]:
    return (draws[start : start + _GROUP] for start in range(0, len(draws), _GROUP))
