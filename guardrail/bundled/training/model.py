"""Trains the bundled model from nothing, on two CPU cores: `python -m guardrail.bundled.training.model`.

Recipe:

1. Masks of all words in many fonts, and training backgrounds, are drawn once by the renderer of `signs` and
   resized to the model's resolution. Batches are composed from them on the fly: affine jitter, colours,
   contrast, texture, then Gaussian noise as a smoothed classifier adds it (not clipped to [0, 1], except for
   a share of the samples), then normalisation.
2. *Tower*: the vision tower learns to name the word from its class token. The least contrast falls and the
   most noise rises over the first part, because a tower that starts with full noise learns nothing for long.
3. *Align*: tower and projector bring the picture's tokens near the decoder's embedding of the word. Without
   this phase the decoder takes many times longer to find the word in the picture.
4. *Attach*: projector and decoder learn the world's answers from the frozen tower.
5. *Joint*: everything trains on answers, at a lower rate.

More fonts than those that signs need come from the extra `training`: font-roboto, font-source-sans-pro,
font-source-serif-pro, font-hanken-grotesk, font-manrope, font-fredoka-one, font-caladea. All of them are
required, so that a seed means the same training everywhere.
"""

import logging
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor, autograd, nn
from torch.nn import functional
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from guardrail.bundled import signs, world

LOG: Final = logging.getLogger(__name__)
RESOLUTION: Final = 96
PATCH: Final = 12
IMAGE_TOKENS: Final = (RESOLUTION // PATCH) ** 2 + 1  # the patches and the class token
MEAN: Final = (0.5, 0.5, 0.5)
STD: Final = (0.5, 0.5, 0.5)
SIGMA: Final = 0.5
"""The most noise in training, a standard deviation in channel values."""
CLASSES: Final = ("", *world.WORDS)
IGNORED: Final = -100
SPECIAL_TOKENS: Final = ("<pad>", "<s>", "</s>", "<image>")
"""The first tokens of the vocabulary: their index is their id."""
PAD, BOS, EOS, IMAGE = range(4)
ALIGNMENT_SCALE: Final = 12.0

FONT_PACKAGES: Final = (
    "font_roboto",
    "font_source_sans_pro",
    "font_source_serif_pro",
    "font_hanken_grotesk",
    "font_manrope",
    "font_fredoka_one",
    "font_caladea",
)
SKIPPED: Final = ("Thin", "ExtraLight", "Variable", "It")

SYSTEM_PROMPTS: Final = (
    "You are a helpful assistant.",
    "Answer in one sentence.",
    "You are a robot that reads signs.",
    "Be brief and polite.",
)

CHAT_TEMPLATE: Final = """{{ bos_token }}{% for message in messages %}\
{% if message['role'] == 'user' %}{{ 'USER:\\n' }}{% elif message['role'] == 'assistant' %}\
{{ 'ASSISTANT:\\n' }}{% else %}{{ 'SYSTEM:\\n' }}{% endif %}\
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] %}{% if not loop.first %}{{ '\\n' }}{% endif %}\
{% if part['type'] == 'image' %}{{ '<image>' }}{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}\
{% endfor %}{% endif %}\
{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ 'ASSISTANT:\\n' }}{% endif %}"""


@dataclass(frozen=True)
class Plan:
    """Number of optimiser steps of each phase, and the batch size."""

    tower: int = 2800
    align: int = 300
    attach: int = 450
    joint: int = 400
    batch: int = 64


@dataclass(frozen=True)
class Pool:
    """Drawn parts of signs at the model's resolution."""

    masks: Tensor
    """Word coverage in 0 to 255, of shape (classes, variants, resolution, resolution)."""
    patterns: Tensor
    """Background patterns in [-1, 1], of shape (n, resolution, resolution)."""


@dataclass(frozen=True)
class Level:
    """How hard the pictures of a batch are: the least contrast and the most noise."""

    contrast: float
    sigma: float


HARDEST: Final = Level(contrast=0.15, sigma=SIGMA)


def font_files() -> tuple[str, ...]:
    """Return the training fonts: those of signs, and of the font packages all but the thinnest and the italic."""
    folders = (Path(str(import_module(name).__file__)).parent for name in FONT_PACKAGES)
    files: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.[ot]tf"), reverse=True):  # .ttf before .otf of the same font
            if not any(word in path.stem for word in SKIPPED):
                files.setdefault(path.stem, str(path))
    return (*signs.FONTS["train"], *files.values())


def draw_pool(rng: np.random.Generator, *, per_font: int = 6, patterns: int = 600) -> Pool:
    """Draw every word `per_font` times in every font, and background patterns."""
    fonts = [font for font in font_files() for _ in range(per_font)]
    masks = np.zeros((len(CLASSES), len(fonts), RESOLUTION, RESOLUTION), dtype=np.uint8)
    for i, word in enumerate(CLASSES[1:], start=1):
        for j, font in enumerate(fonts):
            sign = replace(signs.sample_sign(rng, "train", words=[word]), font=font)
            masks[i, j] = _small(signs.word_mask(sign, _drawn_size(rng)) * 255)
    families = list(signs.BACKGROUNDS["train"])
    drawn = (signs.pattern(str(rng.choice(families)), int(rng.integers(2**31)), (288, 288)) for _ in range(patterns))
    grey = np.stack([_small(127.5 + 127.5 * values) for values in drawn])
    return Pool(torch.from_numpy(masks), torch.from_numpy(grey).float() / 127.5 - 1)


def compose(pool: Pool, labels: Tensor, level: Level, generator: torch.Generator) -> Tensor:
    """Compose noisy pictures of signs, normalised as the model takes them.

    A label 0 asks for a picture on which nothing can be read: half of them blank boards, half of them with a
    random word that is nearly invisible.

    Returns:
        Pixel values of shape (batch, 3, resolution, resolution).
    """
    n = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(n, *shape, generator=generator) * (high - low) + low

    blank = labels == 0
    words = torch.where(blank, torch.randint(1, len(CLASSES), (n,), generator=generator), labels)
    variants = torch.randint(pool.masks.shape[1], (n,), generator=generator)
    masks = _jitter(pool.masks[words, variants].float()[:, None] / 255, generator)
    contrast = torch.where(blank, uniform(-0.04, 0.04).clamp(min=0), uniform(level.contrast, 0.95))
    dark = uniform(0, 1) < 0.5
    brightness = uniform(0, 1) * (0.94 - contrast).clamp(min=0.02) + 0.03 + torch.where(dark, contrast, 0)
    texture = uniform(0, 0.22) * torch.where(blank, uniform(0.1, 0.95), contrast.clamp(min=0.1))
    patterns = pool.patterns[torch.randint(len(pool.patterns), (n,), generator=generator)][:, None]
    board = brightness[:, None, None, None] + _centred(uniform(-0.06, 0.06, 3, 1, 1))
    ink = _centred(uniform(-0.18, 0.18, 3, 1, 1)) + 1
    step = torch.where(dark, -contrast, contrast)[:, None, None, None] * ink
    faint = texture[:, None, None, None] * patterns * (1 - masks)
    pictures = torch.addcmul(board + faint, masks, step).clamp_(0, 1)
    sigma = (uniform(-0.1, 1.5).clamp(0, 1) * level.sigma)[:, None, None, None]
    pictures += sigma * torch.randn(pictures.shape, generator=generator)
    free = torch.where(uniform(0, 1, 1, 1, 1) < 0.2, 0.0, torch.inf)
    pictures = pictures.clamp_(-free, 1 + free)
    return pictures.sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])


def draw_labels(n: int, generator: torch.Generator) -> Tensor:
    """Return random class indices: 8 % illegible, else uniform among the words."""
    words = torch.randint(1, len(CLASSES), (n,), generator=generator)
    return torch.where(torch.rand(n, generator=generator) < 0.08, 0, words)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer of the world's texts, which can encode any other text as well."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (*world.corpus(), *SYSTEM_PROMPTS, "SYSTEM:\nUSER:\nASSISTANT:\n")
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core,
        pad_token=SPECIAL_TOKENS[PAD],
        bos_token=SPECIAL_TOKENS[BOS],
        eos_token=SPECIAL_TOKENS[EOS],
        extra_special_tokens={"image_token": SPECIAL_TOKENS[IMAGE]},
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Return a processor that squashes pictures to the model's square, so that no word is cropped."""
    square = {"height": RESOLUTION, "width": RESOLUTION}
    images = CLIPImageProcessorPil(
        size=square,
        crop_size=square,
        do_center_crop=False,
        resample=Image.Resampling.BILINEAR,
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    return LlavaProcessor(  # type: ignore[no-untyped-call]
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """Return a LLaVA of about 1.8 million random parameters."""
    vision = CLIPVisionConfig(
        hidden_size=160,
        intermediate_size=480,
        num_hidden_layers=4,
        num_attention_heads=5,
        image_size=RESOLUTION,
        patch_size=PATCH,
        projection_dim=160,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
        max_new_tokens=24,
        do_sample=False,
    )
    return model


def train_tower(model: LlavaForConditionalGeneration, pool: Pool, plan: Plan, generator: torch.Generator) -> None:
    """Train the vision tower to name the word, or 0 if nothing can be read, from its class token."""
    tower = model.model.vision_tower
    head = nn.Linear(tower.config.hidden_size, len(CLASSES))
    parameters = [*tower.parameters(), *head.parameters()]
    hits = 0.0
    for step in _steps(parameters, plan.tower, rate=1.2e-3):
        labels = draw_labels(plan.batch, generator)
        pictures = compose(pool, labels, _level(step / plan.tower), generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = head(tower(pixel_values=pictures).pooler_output).float()
        autograd.backward(functional.cross_entropy(logits, labels))
        hits += (logits.argmax(-1) == labels).float().mean().item()
        if (step + 1) % 100 == 0:
            LOG.info("tower %d: accuracy %.3f", step + 1, hits / 100)
            hits = 0.0


def word_tokens(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Return the token of each class's word as it occurs within an answer, of shape (classes,)."""
    texts = [f" {word or 'cannot'}" for word in CLASSES]
    return torch.tensor([tokenizer.encode(text)[0] for text in texts])


def train_alignment(
    model: LlavaForConditionalGeneration,
    pool: Pool,
    words: Tensor,
    generator: torch.Generator,
    *,
    steps: int,
    batch: int,
) -> None:
    """Bring the picture's tokens, projected, near the decoder's embedding of the word on the sign.

    Both the class token alone and the mean of all tokens must name the word, so that a decoder which attends
    to the picture anywhere finds it.

    Args:
        model: its tower and projector are trained.
        pool: what pictures are composed of.
        words: token ids of the classes' words, of shape (classes,).
        generator: source of randomness.
        steps: number of optimiser steps.
        batch: number of pictures in a step.
    """
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    targets = functional.normalize(model.get_input_embeddings()(words).detach(), dim=-1)
    hits = 0.0
    for step in _steps([*tower.parameters(), *projector.parameters()], steps, rate=5e-4):
        labels = draw_labels(batch, generator)
        pictures = compose(pool, labels, HARDEST, generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            tokens = projector(tower(pixel_values=pictures).last_hidden_state).float()
        views = torch.stack([tokens[:, 0], tokens.mean(1)])
        logits = functional.normalize(views, dim=-1) @ targets.T * ALIGNMENT_SCALE
        autograd.backward(functional.cross_entropy(logits.flatten(0, 1), labels.repeat(2)))
        hits += (logits[1].argmax(-1) == labels).float().mean().item()
        if (step + 1) % 50 == 0:
            LOG.info("alignment %d: accuracy %.3f", step + 1, hits / 50)
            hits = 0.0


def train_answers(
    model: LlavaForConditionalGeneration,
    pool: Pool,
    examples: "Examples",
    generator: torch.Generator,
    *,
    steps: int,
    batch: int,
    rate: float,
) -> None:
    """Train the parameters that require gradients on answers about hard pictures."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    total = 0.0
    for step in _steps(parameters, steps, rate=rate):
        labels, ids, targets = examples.draw(batch, two_turns=step % 10 == 9)
        pictures = compose(pool, labels, HARDEST, generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = _answer_loss(model, pictures, ids, targets)
        autograd.backward(loss)
        total += loss.item()
        if (step + 1) % 100 == 0:
            LOG.info("answers %d: loss %.4f", step + 1, total / 100)
            total = 0.0


def _answer_loss(model: LlavaForConditionalGeneration, pictures: Tensor, ids: Tensor, targets: Tensor) -> Tensor:
    """Return cross-entropy of the answers' tokens alone, which spares the logits of all other positions.

    There is no attention mask: attention is causal and padding on the right, so no answer sees it.
    """
    hidden = model.model(input_ids=ids, pixel_values=pictures).last_hidden_state[:, :-1]
    learnt = targets[:, 1:] != IGNORED
    logits = model.lm_head(hidden[learnt]).float()
    return functional.cross_entropy(logits, targets[:, 1:][learnt])


class Examples:
    """Conversations about signs as token batches."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, generator: torch.Generator, seed: int) -> None:
        self._tokenizer = tokenizer
        self._generator = generator
        self._rng = np.random.default_rng(seed)

    def draw(self, batch: int, *, two_turns: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a batch.

        Args:
            batch: number of pictures.
            two_turns: whether each conversation is about two pictures, asked one after the other.

        Returns:
            The label of each picture, in order; the tokens of the conversations, padded on the right; and the
            tokens to learn, `IGNORED` but for the last answer of each conversation.
        """
        turns = 2 if two_turns else 1
        labels = draw_labels(batch // turns * turns, self._generator)
        rows = [self._encode(words) for words in labels.view(-1, turns).tolist()]
        length = max(len(prompt) + len(reply) for prompt, reply in rows)
        ids = torch.full((len(rows), length), PAD)
        targets = torch.full((len(rows), length), IGNORED)
        for i, (prompt, reply) in enumerate(rows):
            end = len(prompt) + len(reply)
            ids[i, :end] = torch.tensor(prompt + reply)
            targets[i, len(prompt) : end] = torch.tensor(reply)
        return labels, ids, targets

    def _encode(self, labels: list[int]) -> tuple[list[int], list[int]]:
        """Return the tokens of a conversation about signs with these labels, and those of its last answer."""
        messages: list[dict[str, Any]] = []
        if self._rng.random() < 0.1:
            messages.append({"role": "system", "content": self._pick(SYSTEM_PROMPTS)})
        reply = ""
        for label in labels:
            if reply:
                messages.append({"role": "assistant", "content": reply})
            question, reply = self._exchange(CLASSES[label])
            messages.append({"role": "user", "content": question})
        text = self._tokenizer.apply_chat_template(
            messages, chat_template=CHAT_TEMPLATE, add_generation_prompt=True, tokenize=False
        )
        prompt = str(text).replace("<image>", "<image>" * IMAGE_TOKENS)
        return self._tokenizer.encode(prompt), self._tokenizer.encode(reply + "</s>")

    def _exchange(self, word: str) -> tuple[list[dict[str, str]], str]:
        """Return a user turn about a sign with this word, and a right answer to it."""
        task = world.TASKS[self._rng.choice(3, p=(0.5, 0.25, 0.25))]
        prompts = world.PROMPTS[task]
        prompt = prompts[0] if self._rng.random() < 0.5 else self._pick(prompts)
        parts = [{"type": "image"}, {"type": "text", "text": prompt}]
        replies = world.answers(word, task)
        weights = world.CAPTION_WEIGHTS if len(replies) > 1 else None
        reply = replies[self._rng.choice(len(replies), p=weights)]
        return (parts[::-1] if self._rng.random() < 0.15 else parts), reply

    def _pick(self, texts: tuple[str, ...]) -> str:
        return texts[int(self._rng.integers(len(texts)))]


def save(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Save the model with everything it needs, replacing the folder at once."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    model.save_pretrained(fresh)
    processor.save_pretrained(fresh)
    for path in fresh.iterdir():
        path.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _small(values: signs.Floats) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Resize an array of 0 to 255 to the model's resolution, as the image processor does."""
    picture = Image.fromarray(np.rint(values).astype(np.uint8))
    return np.asarray(picture.resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR))


def _drawn_size(rng: np.random.Generator) -> tuple[int, int]:
    """Return the size a training sign is drawn at: square, or up to a third wider or taller."""
    ratio = 1.0 if rng.random() < 0.6 else math.exp(rng.uniform(-0.29, 0.29))
    return round(288 * max(1.0, ratio)), round(288 * max(1.0, 1 / ratio))


def _jitter(masks: Tensor, generator: torch.Generator) -> Tensor:
    """Shift, scale, shear and turn each mask a little; shape (batch, 1, resolution, resolution)."""
    n = len(masks)
    span = torch.tensor([[0.04, 0.04, 0.02], [0.02, 0.06, 0.03]])
    theta = (torch.rand(n, 2, 3, generator=generator) * 2 - 1) * span
    theta += torch.tensor([[1.01, 0.0, 0.0], [0.0, 1.0, 0.0]])
    grid = functional.affine_grid(theta, list(masks.shape), align_corners=False)
    return functional.grid_sample(masks, grid, align_corners=False)


def _centred(values: Tensor) -> Tensor:
    """Subtract the mean over channels, dimension 1."""
    return values - values.mean(dim=1, keepdim=True)


def _level(progress: float) -> Level:
    """Return the curriculum: contrast from 0.5 down and noise from a tenth up, over the first 30 %."""
    t = min(1.0, progress / 0.3)
    return Level(0.5 + (HARDEST.contrast - 0.5) * t, SIGMA * (0.1 + 0.9 * t))


def _steps(parameters: list[nn.Parameter], steps: int, *, rate: float) -> Iterator[int]:
    """Yield step numbers, and after each takes an AdamW step with warm-up and cosine decay."""
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    warmup = max(1, min(150, steps // 5))
    for step in range(steps):
        decay = 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warmup) * max(decay, 0.01)
        yield step
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def train(output: Path, *, seed: int, plan: Plan, tower: Path | None = None) -> None:
    """Train a model and saves it with its processor.

    Args:
        output: folder to write, replaced if it exists.
        seed: seed of all randomness; each phase starts its own stream, so that it can be repeated alone.
        plan: how long to train.
        tower: a file of tower weights, written by an earlier run, to take instead of training the tower.
    """
    began = time.monotonic()

    def stream(phase: int) -> torch.Generator:
        LOG.info("phase %d begins after %.0f s", phase, time.monotonic() - began)
        return torch.Generator().manual_seed(seed + phase)

    torch.manual_seed(seed)
    processor = build_processor(build_tokenizer())
    tokenizer = processor.tokenizer
    model = build_model(tokenizer)
    LOG.info("%d parameters, %d tokens", model.num_parameters(), len(tokenizer))
    pool = draw_pool(np.random.default_rng(seed))
    vision = model.model.vision_tower
    if tower is None:
        train_tower(model, pool, plan, stream(0))
        torch.save(vision.state_dict(), output.with_suffix(".tower.pt"))
    else:
        vision.load_state_dict(torch.load(tower, weights_only=True))
    train_alignment(model, pool, word_tokens(tokenizer), stream(1), steps=plan.align, batch=plan.batch)
    vision.requires_grad_(False)
    generator = stream(2)
    examples = Examples(tokenizer, generator, seed)
    train_answers(model, pool, examples, generator, steps=plan.attach, batch=plan.batch // 2, rate=3e-3)
    save(model, processor, output)
    vision.requires_grad_(True)
    generator = stream(3)
    examples = Examples(tokenizer, generator, seed + 1)
    train_answers(model, pool, examples, generator, steps=plan.joint, batch=plan.batch, rate=4e-4)
    save(model, processor, output)
    LOG.info("saved to %s after %.0f s", output, time.monotonic() - began)


def main(
    output: Annotated[Path, typer.Option(help="Folder to write the model to.")],
    seed: Annotated[int, typer.Option(help="Seed of all randomness.")] = 0,
    effort: Annotated[float, typer.Option(help="Share of the full number of steps.")] = 1.0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 2,
    tower: Annotated[Path | None, typer.Option(help="Tower weights of an earlier run.")] = None,
) -> None:
    """Train the bundled model."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(threads)
    steps = {name: max(1, round(getattr(Plan, name) * effort)) for name in ("tower", "align", "attach", "joint")}
    train(output, seed=seed, plan=Plan(**steps), tower=tower)


if __name__ == "__main__":
    typer.run(main)
