"""The architectures that people use, tiny and with random weights: every path from noisy pictures to answers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from guardrail.errors import PromptError
from guardrail.models import TransformersVLM, check_model
from guardrail.models.local.loading import torchvision_works
from guardrail.prompts import ImagePlace, Prompt, Turn
from tests.kit import tiny
from tests.kit.missing_wheels import needs
from tests.kit.tiny import draws, texts

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
Load = Callable[..., TransformersVLM]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Loads a kind of tiny model, once for equal options; the folders are made when they are first asked for."""
    root = tmp_path_factory.mktemp("tiny")

    @cache
    def load(kind: str, **options: Any) -> TransformersVLM:
        if not (root / kind).is_dir():
            (root / kind).mkdir()
            tiny.BUILDERS[kind](root / kind)
        if kind == "qwen":
            options.setdefault("resolution", (tiny.SIDE, tiny.SIDE))
        return TransformersVLM(root / kind, max_new_tokens=5, device="cpu", **options)

    return load


@pytest.fixture(params=tiny.BUILDERS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name in tiny.NEED_TORCHVISION and not torchvision_works():
        pytest.skip("its processor needs torchvision")
    if name == "smolvlm":
        needs("num2words")
    return name


def test_answers_depend_on_nothing_but_the_draw(load: Load, kind: str) -> None:
    """Sampled, for a choice between near tokens tells more than a greedy one."""
    vlm = load(kind, temperature=1.0)
    mixed = [
        *draws(vlm, "What is it?", count=3),
        *draws(vlm, "And how do these two differ, in one word?", count=2, images=2),
        *draws(vlm, "?", count=2),
    ]
    for draw in mixed:
        vlm.check(draw.prompt, draw.sizes)
    together = texts(vlm, mixed)
    assert len(set(together)) >= 3, "three seeds"
    assert together == [texts(vlm, [draw])[0] for draw in mixed]
    assert together[::-1] == texts(vlm, mixed[::-1])


def test_the_page_tells_how_far_each_conforms(load: Load, kind: str) -> None:
    """bfloat16 may round otherwise on another machine: there the same batches must give the same, and no more."""
    page = (ROOT / "docs/models.md").read_text("utf-8")
    rows = {name: cells for name, *cells in re.findall(r"^\| `(\w+)`" + r" \| (\d+)" * 6, page, re.M)}
    assert len(rows) == len(tiny.BUILDERS)
    exact, coarse = load(kind, temperature=1.0), load(kind, temperature=1.0, dtype="bfloat16")
    found = check_model(exact)
    assert {finding.status for finding in found.findings} == {"ok"}, found
    told = [found[check].told.split()[0] for check in ("batched", "shuffled", "twice")]
    assert rows[exact._model.config.model_type][:3] == told
    found = check_model(coarse, draws=16)
    assert found.passed, found
    assert found["twice"].status == "ok"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # PaliGemma's, with tensors
def test_the_model_gets_what_its_own_processor_makes_of_a_picture(load: Load, kind: str) -> None:
    vlm = load(kind)
    [draw] = draws(vlm, "What is it?", sigma=1e-9)
    picture = Image.fromarray(np.rint(draw.images()[0] * 255.0).astype(np.uint8))
    chat = vlm._prompts.chat(draw.prompt)
    theirs = vlm._processor(images=[[picture]], text=[chat], return_tensors="pt", **vlm._prompts._options)
    ours = vlm._inputs([draw])
    if "overview" in vlm.name:  # its processor shows the same picture twice
        assert torch.allclose(ours["pixel_values"], theirs["pixel_values"][:, 0], atol=1e-4)
        assert torch.equal(ours["image_sizes"], theirs["image_sizes"])
        return
    assert set(ours) <= set(theirs)
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name].to(value.dtype), atol=1e-3), name


def test_noise_reaches_the_model_unclipped(load: Load, kind: str) -> None:
    vlm = load(kind)
    clean, noisy = (vlm._inputs(draws(vlm, "?", sigma=sigma))["pixel_values"] for sigma in (1e-9, 0.5))
    beyond = float(noisy.max() / clean.max())
    if "pictures" in vlm.name:
        assert beyond < 1.01
    else:
        assert beyond > 1.5


def test_a_picture_is_one_tile(load: Load, kind: str) -> None:
    vlm = load(kind)
    assert vlm.resolution == (tiny.SIDE, tiny.SIDE)
    pixels = vlm._inputs(draws(vlm, "?"))["pixel_values"]
    copies = {"qwen": 2, "mllama": 4}  # Qwen repeats a picture in time, Llama pads it with empty tiles
    assert pixels.numel() == 3 * tiny.SIDE**2 * copies.get(kind, 1)
    assert len(pixels.unique()) <= 3 * tiny.SIDE**2 + 1


@pytest.mark.parametrize(("kind", "tiles"), [("llava_next", 3), ("idefics3", 17)])
def test_tiling_is_an_option(load: Load, kind: str, tiles: int) -> None:
    vlm = load(kind, tiling=True)
    asked = draws(vlm, "?", count=2)
    assert vlm._inputs(asked)["pixel_values"].numel() == 2 * tiles * 3 * tiny.SIDE**2
    assert vlm.name != load(kind).name
    assert texts(vlm, asked) == [texts(vlm, [draw])[0] for draw in asked]


def test_a_model_of_any_size_has_a_moderate_default(load: Load) -> None:
    if not torchvision_works():
        pytest.skip("its processor needs torchvision")
    vlm = load("qwen", resolution=None)
    assert vlm.resolution == (448, 448)


def test_pixels_of_noise_move_the_answers(load: Load) -> None:
    vlm = load("llava")
    assert len(set(texts(vlm, draws(vlm, "?", count=12)))) > 3


WITHOUT_TORCHVISION = """
import sys
from pathlib import Path

sys.modules["torchvision"] = None  # as where it is not installed
from guardrail.errors import ModelError
from guardrail.models import TransformersVLM, check_model
from tests.kit import tiny
from tests.kit.tiny import draws, texts

for kind in ("llava", "gemma3", "idefics3", *tiny.NEED_TORCHVISION):
    folder = Path(sys.argv[1]) / kind
    folder.mkdir()
    tiny.BUILDERS[kind](folder)
    try:
        vlm = TransformersVLM(folder, max_new_tokens=5, device="cpu", temperature=1.0)
    except ModelError as error:
        print(kind, error)
        continue
    mixed = [*draws(vlm, "What is it?", count=2), *draws(vlm, "And how do these two differ?", images=2)]
    assert texts(vlm, mixed) == [texts(vlm, [draw])[0] for draw in mixed]
    print(kind, vlm.name.rsplit("/", 1)[1].split(" (")[0])
"""


def test_without_torchvision(tmp_path: Path) -> None:
    """In a process of its own: transformers looks for torchvision once."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCHVISION, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said["llava"] == said["gemma3"] == "tensors"
    assert said["idefics3"] == "pictures"
    assert "no tensor preprocessing for this model" in done.stderr
    for kind in tiny.NEED_TORCHVISION:
        assert "install the torchvision that belongs to your torch" in said[kind]


def test_paths_with_torchvision(load: Load, kind: str) -> None:
    if not torchvision_works():
        pytest.skip("no torchvision")
    path = load(kind).name.rsplit("/", 1)[1].split(" (")[0]
    assert path == ("overview tensors" if kind == "llava_next" else "processor tensors")


def test_llava_next_without_a_grid_is_the_model_on_its_overview(load: Load) -> None:
    """One tile costs one tile: the features are those of the overview that the full grid has too, and a newline."""
    vlm, full = load("llava_next"), load("llava_next", tiling=True)
    [draw] = draws(vlm, "?")
    inputs = [v._inputs([draw]) for v in (vlm, full)]
    with torch.inference_mode():
        one, many = (
            v._model.get_image_features(pixel_values=i["pixel_values"], image_sizes=i["image_sizes"]).pooler_output[0]
            for v, i in zip((vlm, full), inputs, strict=True)
        )
    assert len(one) == 17 < len(many)
    if torchvision_works():  # else the full grid gets clipped pictures
        assert torch.allclose(one[:16], many[:16], atol=1e-4)
    assert torch.equal(one[16], vlm._model.model.image_newline)


MARKS = {
    "qwen": ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<video>"),
    "idefics3": ("<image>", "<fake_token_around_image>", "<global-img>"),
    "smolvlm": ("<image>", "<fake_token_around_image>", "<global-img>"),
    "gemma3": ("<begin>", "<image>", "<end>"),
    "internvl": ("<image>", "<begin>", "<end>"),
    "llama4": ("<|image|>", "<|image_start|>", "<|patch|>", "<|image_end|>"),
    "aya_vision": ("<image>", "<|START_OF_IMG|>", "<|IMG_PATCH|>", "<|END_OF_IMG|>"),
    "mistral3": ("[IMG]", "[IMG_BREAK]", "[IMG_END]"),
}
"""What stands in each model's text for an image, and around it; what is not named here has `<image>` alone."""


def test_no_mark_of_an_image_passes_in_the_text(load: Load, kind: str) -> None:
    """In a batch, the other requests' pictures would move by one place."""
    vlm = load(kind)
    for word in MARKS.get(kind, ("<image>",)):
        for images in (1, 2):
            with pytest.raises(PromptError, match=re.escape(word)):
                vlm.check(Prompt.of(f"And {word}?", images), [(tiny.SIDE, tiny.SIDE)] * images)
    vlm.check(Prompt.of("And an image, a patch, a video and a tile <b> [i] <|x|>?", 1), [(tiny.SIDE, tiny.SIDE)])


@pytest.mark.parametrize("cuts", [(1,), (3,), (2, 4)])
def test_no_mark_passes_in_pieces(load: Load, kind: str, cuts: tuple[int, ...]) -> None:
    vlm = load(kind)
    for word in MARKS.get(kind, ("<image>",)):
        if not {word, vlm._tokenizer.convert_tokens_to_ids(word)} & {vlm._processor.image_token, *vlm._prompts._named}:
            continue  # it marks no place for a picture
        pieces = [word[a:b] for a, b in zip((0, *cuts), (*cuts, None), strict=True)]
        with pytest.raises(PromptError, match="image"):
            vlm.check(Prompt((Turn("user", (ImagePlace(0), *pieces)),)), [(tiny.SIDE, tiny.SIDE)])


def test_an_image_that_the_chat_template_leaves_out_is_refused(load: Load, tmp_path: Path) -> None:
    """Many templates show images of user turns only; the model would be shown another request's picture."""
    folder = tmp_path / "llava_next"
    folder.mkdir()
    tiny.llava_next(folder)
    template = folder / "chat_template.jinja"
    shown = "part['type'] == 'image' and message['role'] == 'user'"
    template.write_text(
        template.read_text().replace("part['type'] == 'image'", shown).replace("else part['text']", "else part.text")
    )
    vlm = TransformersVLM(folder, max_new_tokens=5, device="cpu")
    vlm.check(Prompt.of("?", 1), [(tiny.SIDE, tiny.SIDE)])
    left_out = Prompt((Turn("tool", (ImagePlace(0),)), Turn("user", ("What is it?",))))
    with pytest.raises(PromptError, match=r"places for 0 image\(s\)"):
        vlm.check(left_out, [(tiny.SIDE, tiny.SIDE)])


@pytest.mark.parametrize("kind", ["llava", "llava_next"])
def test_a_template_that_writes_the_first_token_has_it_once(load: Load, tmp_path: Path, kind: str) -> None:
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path / kind
    folder.mkdir()
    tiny.BUILDERS[kind](folder)
    vlm = TransformersVLM(folder, max_new_tokens=5, device="cpu")
    begin = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tiny.BOS)])
    vlm._tokenizer.backend_tokenizer.post_processor = begin
    first = [vlm._prompts._row(Prompt.of("?", 1), ((tiny.SIDE, tiny.SIDE),))["input_ids"][:2].tolist()]
    vlm._processor.chat_template = "{{ bos_token }}" + vlm._processor.chat_template
    first.append(vlm._prompts._row(Prompt.of("?", 1), ((tiny.SIDE, tiny.SIDE),))["input_ids"][:2].tolist())
    assert first[0] == first[1]
    assert first[0].count(tiny.BOS) == 1
