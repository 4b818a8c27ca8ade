"""Tiny models with random weights, of the architectures that people use, each in a folder as from the hub.

Every one has a byte-level tokenizer of its own, with that architecture's special tokens. Weights are larger than
usual, so that answers differ between pictures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guardrail.certify.noise import NoiseStream
from guardrail.models import Draw, TransformersVLM
from guardrail.prompts import Prompt

SIDE = 56
"""Height and width of a tile: 16 patches of 14 pixels."""

PAD, BOS, EOS, IMAGE, BEGIN, END = range(6)
_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 14,
}
_SQUARE = {"height": SIDE, "width": SIDE}
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: {% for part in message['content'] %}"
    "{{ 'IMAGE' if part['type'] == 'image' else part['text'] }}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:\n{% endif %}"
)


def llava(folder: Path) -> None:
    """LLaVA 1.5: CLIP, one tile."""
    from transformers import LlavaConfig

    _save(
        folder,
        LlavaConfig(
            vision_config={"model_type": "clip_vision_model", **_VISION, "projection_dim": 32},
            text_config={"model_type": "llama", **_TEXT, "vocab_size": _vocabulary(folder)},
            image_token_index=IMAGE,
            image_seq_length=16,
        ),
        "LlavaProcessor",
        {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": SIDE}, "crop_size": _SQUARE},
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def llava_next(folder: Path) -> None:
    """LLaVA 1.6: CLIP, an overview and tiles on a grid."""
    from transformers import LlavaNextConfig

    grid = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
    _save(
        folder,
        LlavaNextConfig(
            vision_config={"model_type": "clip_vision_model", **_VISION, "projection_dim": 32},
            text_config={"model_type": "llama", **_TEXT, "vocab_size": _vocabulary(folder)},
            image_token_index=IMAGE,
            image_grid_pinpoints=grid,
            image_seq_length=16,
        ),
        "LlavaNextProcessor",
        {
            "image_processor_type": "LlavaNextImageProcessor",
            "size": {"shortest_edge": SIDE},
            "crop_size": _SQUARE,
            "image_grid_pinpoints": grid,
        },
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def qwen(folder: Path) -> None:
    """Qwen2.5-VL: any size, patches merged by four. Its processor cannot be built without torchvision."""
    from transformers import Qwen2_5_VLConfig

    _save(
        folder,
        Qwen2_5_VLConfig(
            vision_config={
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_heads": 2,
                "out_hidden_size": 32,
                "fullatt_block_indexes": [1],
                "window_size": 56,
            },
            text_config={
                **_TEXT,
                "vocab_size": _vocabulary(folder, image="<|image_pad|>"),
                "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6},
            },
            image_token_id=IMAGE,
            video_token_id=7,
            vision_start_token_id=BEGIN,
            vision_end_token_id=END,
        ),
        "Qwen2_5_VLProcessor",
        {"image_processor_type": "Qwen2VLImageProcessor", "size": {"shortest_edge": 784, "longest_edge": 401408}},
        image="<|vision_start|><|image_pad|><|vision_end|>",
        video_processor={"video_processor_type": "Qwen2VLVideoProcessor"},
    )


def idefics3(folder: Path) -> None:
    """Idefics3: SigLIP, upscaled and cut into tiles, with a mask of pixels."""
    from transformers import Idefics3Config

    _idefics3(folder, Idefics3Config, "Idefics3")


def smolvlm(folder: Path) -> None:
    """SmolVLM, Idefics3's child. Its processor cannot be built without torchvision (for videos) and num2words."""
    from transformers import SmolVLMConfig

    _idefics3(folder, SmolVLMConfig, "SmolVLM", video_processor={"video_processor_type": "SmolVLMVideoProcessor"})


def _idefics3(folder: Path, config: Any, name: str, **fields: Any) -> None:
    _save(
        folder,
        config(
            vision_config=_VISION,
            text_config={"model_type": "llama", **_TEXT, "vocab_size": _vocabulary(folder)},
            image_token_id=IMAGE,
            scale_factor=2,
        ),
        f"{name}Processor",
        {
            "image_processor_type": f"{name}ImageProcessor",
            "size": {"longest_edge": 4 * SIDE},
            "max_image_size": {"longest_edge": SIDE},
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        },
        image_seq_len=4,
        **fields,
    )


def gemma3(folder: Path) -> None:
    """Gemma 3: SigLIP, one tile, pooled; image tokens see one another."""
    from transformers import Gemma3Config

    _save(
        folder,
        Gemma3Config(
            vision_config={"model_type": "siglip_vision_model", **_VISION, "vision_use_head": False},
            text_config={**_TEXT, "head_dim": 16, "vocab_size": _vocabulary(folder)},
            mm_tokens_per_image=4,
            boi_token_index=BEGIN,
            eoi_token_index=END,
            image_token_index=IMAGE,
        ),
        "Gemma3Processor",
        {
            "image_processor_type": "Gemma3ImageProcessor",
            "size": _SQUARE,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        },
        image="<begin>",
        image_seq_length=4,
    )


def paligemma(folder: Path) -> None:
    """PaliGemma: SigLIP, one fixed tile. Its checkpoints have no chat template; this one has."""
    from transformers import PaliGemmaConfig

    _save(
        folder,
        PaliGemmaConfig(
            vision_config={"model_type": "siglip_vision_model", **_VISION, "vision_use_head": False},
            text_config={"model_type": "gemma", **_TEXT, "head_dim": 16, "vocab_size": _vocabulary(folder)},
            image_token_index=IMAGE,
            projection_dim=32,
            hidden_size=32,
            vocab_size=_vocabulary(folder),
        ),
        "PaliGemmaProcessor",
        {
            "image_processor_type": "SiglipImageProcessor",
            "size": _SQUARE,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
            "image_seq_length": 16,
        },
    )


def internvl(folder: Path) -> None:
    """InternVL: fixed tiles of one size. Its processor cannot be built without torchvision."""
    from transformers import InternVLConfig

    _save(
        folder,
        InternVLConfig(
            vision_config={**_VISION, "image_size": [SIDE, SIDE], "patch_size": [14, 14]},
            text_config={"model_type": "qwen2", **_TEXT, "vocab_size": _vocabulary(folder)},
            image_token_id=IMAGE,
            image_seq_length=4,
        ),
        "InternVLProcessor",
        {
            "image_processor_type": "GotOcr2ImageProcessor",
            "size": _SQUARE,
            "crop_to_patches": True,
        },
        image_seq_length=4,
        video_processor={"video_processor_type": "InternVLVideoProcessor", "size": _SQUARE},
    )


def mllama(folder: Path) -> None:
    """Llama 3.2 Vision, Llama Guard 3's kind: tiles are padded to four, the text looks at them by cross attention."""
    from transformers import MllamaConfig

    _save(
        folder,
        MllamaConfig(
            vision_config={
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_global_layers": 1,
                "attention_heads": 2,
                "image_size": SIDE,
                "patch_size": 14,
                "intermediate_layers_indices": [0, 1],
                "vision_output_dim": 96,
            },
            text_config={**_TEXT, "vocab_size": _vocabulary(folder), "cross_attention_layers": [1]},
            image_token_index=IMAGE,
        ),
        "MllamaProcessor",
        {
            "image_processor_type": "MllamaImageProcessor",
            "size": _SQUARE,
            "max_image_tiles": 4,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        },
    )


def llama4(folder: Path) -> None:
    """Llama 4: tiles of one size, pixels shuffled; its experts take each token by itself. `<|patch|>` is its image."""
    from transformers import Llama4Config

    _save(
        folder,
        Llama4Config(
            vision_config={
                **_VISION,
                "image_size": SIDE,
                "intermediate_size": 128,
                "vision_output_dim": 32,
                "projector_input_dim": 32,
                "projector_output_dim": 32,
            },
            text_config={
                **_TEXT,
                "intermediate_size_mlp": 64,
                "head_dim": 16,
                "num_local_experts": 2,
                "vocab_size": _vocabulary(folder, image="<|patch|>"),
            },
            boi_token_index=BEGIN,
            eoi_token_index=END,
            image_token_index=IMAGE,
        ),
        "Llama4Processor",
        {
            "image_processor_type": "Llama4ImageProcessor",
            "size": _SQUARE,
            "max_patches": 1,
            "image_mean": [0.5] * 3,
            "image_std": [0.5] * 3,
        },
        image="<|image|>",
        patch_size=14,
        pixel_shuffle_ratio=0.5,
    )


def aya_vision(folder: Path) -> None:
    """Aya Vision: SigLIP, tiles, patches merged by four. `<|IMG_PATCH|>` is its image."""
    from transformers import AyaVisionConfig

    _save(
        folder,
        AyaVisionConfig(
            vision_config={"model_type": "siglip_vision_model", **_VISION, "vision_use_head": False},
            text_config={
                "model_type": "cohere2",
                **_TEXT,
                "head_dim": 16,
                "vocab_size": _vocabulary(folder, image="<|IMG_PATCH|>"),
            },
            image_token_index=IMAGE,
        ),
        "AyaVisionProcessor",
        {"image_processor_type": "GotOcr2ImageProcessor", "size": _SQUARE, "crop_to_patches": True},
        patch_size=14,
        img_size=SIDE,
        downsample_factor=2,
    )


def mistral3(folder: Path) -> None:
    """Mistral 3: Pixtral's encoder of any size, patches merged by four, a token after each row of them."""
    from transformers import Mistral3Config

    _save(
        folder,
        Mistral3Config(
            vision_config={"model_type": "pixtral", **_VISION, "head_dim": 16},
            text_config={
                "model_type": "mistral",
                **_TEXT,
                "head_dim": 16,
                "vocab_size": _vocabulary(folder, image="[IMG]"),
            },
            image_token_index=IMAGE,
        ),
        "PixtralProcessor",
        {"image_processor_type": "PixtralImageProcessor", "size": {"longest_edge": SIDE}, "patch_size": 14},
        image="[IMG]",
        patch_size=14,
        spatial_merge_size=2,
    )


BUILDERS: dict[str, Callable[[Path], None]] = {
    build.__name__: build
    for build in (
        *(llava, llava_next, qwen, idefics3, smolvlm, gemma3, paligemma, internvl, mllama),
        *(llama4, aya_vision, mistral3),
    )
}
NEED_TORCHVISION = ("qwen", "smolvlm", "internvl", "llama4", "mistral3")
STREAM = NoiseStream.derive(b"the key of these tests", b"request", "estimation")


def draws(vlm: TransformersVLM, prompt: str, *, count: int = 1, images: int = 1, sigma: float = 0.5) -> list[Draw]:
    """Draws about random pictures, the same ones for as many images."""
    assert vlm.resolution is not None
    pictures = tuple(np.random.default_rng(images).integers(0, 256, (images, *vlm.resolution, 3)) / 255.0)
    return [Draw(pictures, Prompt.of(prompt, images), sigma, STREAM, i) for i in range(count)]


def texts(vlm: TransformersVLM, asked: Sequence[Draw]) -> list[str]:
    """What a model answers."""
    return [answer.text for answer in vlm.answer(asked)]


_BORDERS = {
    "<image>": ("<begin>", "<end>"),
    "<|image_pad|>": ("<|vision_start|>", "<|vision_end|>"),
    "<|patch|>": ("<|image_start|>", "<|image_end|>"),
    "<|IMG_PATCH|>": ("<|START_OF_IMG|>", "<|END_OF_IMG|>"),
    "[IMG]": ("[IMG_BREAK]", "[IMG_END]"),
}
"""What stands around an image, or within, by the token that each of its places in the text is."""


def _special_tokens(image: str) -> list[str]:
    around = ("<fake_token_around_image>", "<video>", "<end_of_utterance>", "<|image|>")
    return ["<pad>", "<s>", "</s>", image, *_BORDERS[image], *around]


def _tokenizer(image: str = "<image>") -> Any:
    """A byte-level tokenizer that also knows the words `safe` and `unsafe`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = _special_tokens(image)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(["safe unsafe safe unsafe"] * 10, trainer)
    extra = {
        "image_token": image,
        "boi_token": special[BEGIN],
        "eoi_token": special[END],
        "start_image_token": special[BEGIN],
        "end_image_token": special[END],
        "context_image_token": image,
        "video_token": "<video>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=extra if image in {"<image>", "<|image_pad|>"} else {},
        model_max_length=512,
    )


def _vocabulary(folder: Path, image: str = "<image>") -> int:
    """Save the tokenizer and return how many tokens a model needs, with room for what its processor adds."""
    tokenizer = _tokenizer(image)
    tokenizer.save_pretrained(folder)
    return len(tokenizer) + 1200 if folder.name == "paligemma" else len(tokenizer) + 48


def _save(
    folder: Path, config: Any, processor: str, image_processor: dict[str, Any], image: str = "<image>", **fields: Any
) -> None:
    """Save a random model of this configuration, and a processor as its published checkpoints describe it."""
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.15 if parameter.ndim > 1 else parameter)
            if name.endswith("gate"):
                parameter.fill_(1.0)  # else the model is blind, until it is trained
    model.save_pretrained(folder)
    described = {"processor_class": processor, "image_processor": image_processor, **fields}
    (folder / "processor_config.json").write_text(json.dumps(described))
    (folder / "chat_template.jinja").write_text(_TEMPLATE.replace("IMAGE", image))
