"""A denoiser between noise and model: what the model sees, and that the bundled one helps where noise is heavy."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from guardrail import SmoothedClassifier, Smoothing
from guardrail.bundled import signs, world
from guardrail.bundled.denoiser import WEIGHTS, SignDenoiser, denoised
from guardrail.certify.noise import NoiseStream
from guardrail.errors import ModelError
from guardrail.models import Answer, BundledVLM, Draw, VisionLanguageModel
from guardrail.models import denoised as denoised_module
from guardrail.models.base import Sizes
from guardrail.models.denoised import DenoisedVLM
from guardrail.prompts import Prompt
from tests.kit.synthetic import ORACLE, HalfSpaceVLM

STREAM = NoiseStream.derive(b"the key of these tests", b"request", "estimation")
PROMPT = Prompt.of("Follow the sign.", 1)


class Witness:
    """A model that keeps the draws it is asked."""

    name = "witness"
    resolution = (8, 8)

    def __init__(self) -> None:
        self.seen: list[Draw] = []

    def check(self, prompt: Prompt, sizes: Sizes) -> None:
        pass

    def answer(self, draws: Sequence[Draw], deadline: float | None = None) -> list[Answer]:
        self.seen += draws
        return [Answer(f"answer {draw.index}") for draw in draws]


def draw(*sizes: tuple[int, int], index: int = 0, sigma: float = 0.5) -> Draw:
    rng = np.random.default_rng(index)
    return Draw(tuple(rng.random((*size, 3)) for size in sizes), Prompt.of("?", len(sizes)), sigma, STREAM, index)


def shrink(noisy: Tensor, sigma: Tensor) -> Tensor:
    """A denoiser that tells its σ and its input."""
    return noisy * sigma.view(-1, 1, 1, 1)


def test_the_model_sees_the_denoised_pictures_and_the_rest_of_the_draw() -> None:
    witness = Witness()
    model = DenoisedVLM(witness, shrink, "shrink@1", device="cpu", batch_size=2)
    asked = [draw((8, 8), index=i, sigma=0.1 * (i + 1)) for i in range(5)]
    assert isinstance(model, VisionLanguageModel)
    assert [answer.text for answer in model.answer(asked)] == [f"answer {i}" for i in range(5)]
    for before, after in zip(asked, witness.seen, strict=True):
        assert np.allclose(after.images()[0], before.images()[0] * before.sigma, atol=1e-6)
        assert np.array_equal(after.images()[0], after.images()[0])
        assert (after.prompt, after.sizes, after.sigma) == (before.prompt, before.sizes, before.sigma)
        assert (after.index, after.sampling_seed) == (before.index, before.sampling_seed)


def test_nothing_of_the_clean_picture_is_left_in_the_draw() -> None:
    witness = Witness()
    DenoisedVLM(witness, lambda noisy, sigma: torch.zeros_like(noisy), "zero", device="cpu").answer([draw((8, 8))])
    (seen,) = witness.seen
    assert not isinstance(seen, Draw), "no code that makes its own noise on the clean picture takes it"
    assert {"_clean", "_stream"}.isdisjoint(dir(seen))
    assert not seen.images()[0].any()


def test_several_images_of_several_sizes_keep_their_places() -> None:
    witness, calls = Witness(), []

    def count(noisy: Tensor, sigma: Tensor) -> Tensor:
        calls.append(tuple(noisy.shape))
        return noisy + 1

    asked = [draw((8, 8), (4, 6)), draw((4, 6), index=1), draw(index=2), draw((8, 8), (8, 8), index=3)]
    DenoisedVLM(witness, count, "plus", device="cpu", batch_size=2).answer(asked)
    assert sorted(calls) == [(1, 3, 8, 8), (2, 3, 4, 6), (2, 3, 8, 8)]
    for before, after in zip(asked, witness.seen, strict=True):
        pairs = zip(before.images(), after.images(), strict=True)
        assert all(np.allclose(clean, noisy + 1) for noisy, clean in pairs)


def test_the_name_tells_denoisers_apart() -> None:
    names = {DenoisedVLM(Witness(), shrink, name, device="cpu").name for name in ("a", "b")}
    assert len(names) == 2
    assert all("witness" in name for name in names)


def test_a_denoiser_is_part_of_the_smoothed_model_and_costs_no_soundness() -> None:
    """The half-space behind a linear denoiser is a half-space: the radius must stay below the exact distance."""
    side, threshold, sigma = 4, 10.0, 0.5
    inner = HalfSpaceVLM(threshold)
    model = DenoisedVLM(inner, lambda noisy, _: noisy / 2, "half", device="cpu")
    x = np.full((side, side, 3), 200, np.uint8)
    exact = ((x / 255.0).sum() / 2 - threshold) / (math.sqrt(x.size) / 2)
    from PIL import Image

    smoothing = Smoothing(sigma=sigma, samples=400, key=b"the key of these tests")
    certificate = SmoothedClassifier(model, ORACLE, smoothing).certify([Image.fromarray(x)], "?")
    assert certificate.verdict == "harmless"
    assert 0.3 * exact < certificate.radius < exact
    assert certificate.model == "half > half-space"


def test_draws_after_the_deadline_fail() -> None:
    witness = Witness()
    answers = DenoisedVLM(witness, shrink, "shrink", device="cpu").answer([draw((8, 8))] * 3, deadline=0.0)
    assert [answer.failed for answer in answers] == ["deadline"] * 3
    assert not witness.seen


def test_awaited_answers_are_the_same_and_come_in_the_same_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoised_module, "_GROUP", 2)
    asked, models = [draw((8, 8), index=i) for i in range(5)], [Witness(), Witness()]
    called, awaited = (DenoisedVLM(model, shrink, "shrink", device="cpu") for model in models)
    assert asyncio.run(awaited.aanswer(asked)) == called.answer(asked)
    assert [seen.index for model in models for seen in model.seen] == [0, 1, 2, 3, 4] * 2
    assert {answer.failed for answer in asyncio.run(awaited.aanswer(asked, deadline=0.0))} == {"deadline"}


class TestBadDenoisers:
    def test_another_shape(self) -> None:
        model = DenoisedVLM(Witness(), lambda noisy, _: noisy[..., :4], "crop", device="cpu")
        with pytest.raises(ModelError, match="crop"):
            model.answer([draw((8, 8))])

    def test_training_mode(self) -> None:
        with pytest.raises(ModelError, match="eval"):
            DenoisedVLM(Witness(), torch.nn.BatchNorm2d(3), "norm", device="cpu")  # type: ignore[arg-type]

    @pytest.mark.parametrize(("name", "batch_size", "device"), [("", 1, "cpu"), ("a", 0, "cpu"), ("a", 1, "warp")])
    def test_impossible_options(self, name: str, batch_size: int, device: str) -> None:
        with pytest.raises(ModelError, match=r"name|warp"):
            DenoisedVLM(Witness(), shrink, name, device=device, batch_size=batch_size)

    def test_missing_weights(self, tmp_path: object) -> None:
        with pytest.raises(ModelError, match="nowhere"):
            SignDenoiser.pretrained(WEIGHTS.with_name("nowhere.safetensors"))


@pytest.fixture(scope="module")
def denoiser() -> SignDenoiser:
    return SignDenoiser.pretrained()


class TestBundledDenoiser:
    def test_it_is_small(self) -> None:
        assert WEIGHTS.stat().st_size < 1_000_000

    def test_any_size_and_each_picture_by_itself(self, denoiser: SignDenoiser) -> None:
        noisy, sigma = torch.rand(3, 3, 37, 50), torch.tensor([0.1, 0.5, 1.0])
        with torch.inference_mode():
            together = denoiser(noisy, sigma)
            alone = torch.cat([denoiser(noisy[i : i + 1], sigma[i : i + 1]) for i in range(3)])
        assert together.shape == noisy.shape
        assert torch.allclose(together, alone, atol=1e-5)

    @pytest.mark.parametrize("sigma", [0.25, 0.5, 1.0])
    def test_it_brings_pictures_nearer_to_the_clean_ones(self, denoiser: SignDenoiser, sigma: float) -> None:
        rng = np.random.default_rng(5)
        drawn = [signs.draw_sign(signs.sample_sign(rng, "held_out"), (96, 96)) for _ in range(8)]
        clean = torch.from_numpy(np.stack([np.asarray(picture) for picture in drawn]) / 255.0).float()
        clean = clean.permute(0, 3, 1, 2)
        noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            left = (denoiser(noisy, torch.full((8,), sigma)) - clean).square().mean().sqrt()
        assert left < 0.6 * sigma

    @pytest.mark.slow
    def test_the_bundled_model_reads_more_under_heavy_noise(self) -> None:
        """At twice the noise that the model was trained on; how much more, the benchmark says."""
        model, rng = BundledVLM(), np.random.default_rng(11)
        behind, right = denoised(model), {"alone": 0, "denoised": 0}
        for _ in range(40):
            sign = signs.sample_sign(rng, "held_out")
            x = np.asarray(signs.draw_sign(sign, (96, 96))) / 255.0
            asked = [Draw((x,), PROMPT, 1.0, STREAM, i) for i in range(4)]
            for name, vlm in (("alone", model), ("denoised", behind)):
                answers = vlm.answer(asked)
                right[name] += sum(world.truth(a.text) == world.expected(sign.word, "follow") for a in answers)
        assert right["denoised"] > right["alone"], right
