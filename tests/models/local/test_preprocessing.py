"""The ways from noisy pictures to pixels, against the image processors that they stand for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessorPil,
    Idefics3ImageProcessorPil,
    LlavaNextImageProcessorPil,
    SiglipImageProcessorPil,
)

from guardrail.certify.resize import resize
from guardrail.errors import ModelError
from guardrail.images.pictures import InputImage
from guardrail.models.local.loading import torchvision_works
from guardrail.models.local.preprocessing import (
    FREE_SIZE,
    NormalisedTiles,
    ProcessorPictures,
    one_tile_options,
    own_resolution,
    picture_of,
    pixel_path,
    stacked,
)

CPU = torch.device("cpu")
PIXELS = ("pixel_values",)
SQUARE = {"height": 224, "width": 224}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A real photograph, 512 pixels wide and 600 high."""
    with Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg") as image:
        return image.convert("RGB")


def one_tile_processors() -> dict[str, Any]:
    return {
        "clip": CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size=SQUARE),
        "siglip": SiglipImageProcessorPil(size=SQUARE, resample=Image.Resampling.BILINEAR),
        "no normalisation": SiglipImageProcessorPil(size=SQUARE, do_normalize=False),
    }


@pytest.mark.parametrize("kind", one_tile_processors())
def test_one_tile_of_a_photograph_is_what_the_processor_makes_of_it(kind: str, photo: Image.Image) -> None:
    processor = one_tile_processors()[kind]
    path = pixel_path(processor, {}, PIXELS, (224, 224), CPU)
    assert isinstance(path, NormalisedTiles)
    tiles = [photo.crop((x, y, x + 224, y + 224)) for x, y in ((0, 0), (140, 60), (288, 376))]
    ours = path([[np.asarray(tile, np.float32) / np.float32(255.0)] for tile in tiles])["pixel_values"]
    theirs = processor(images=tiles, return_tensors="pt")["pixel_values"]
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_whole_photograph_is_resized_as_the_processor_does_up_to_rounding(photo: Image.Image) -> None:
    """The certified resize is Pillow's antialiased bilinear one, without its rounding to 8 bits after each axis."""
    processor = one_tile_processors()["siglip"]
    path = pixel_path(processor, {}, PIXELS, (224, 224), CPU)
    small = resize(InputImage.load(photo).pixels / 255.0, (224, 224)).astype(np.float32)
    ours = path([[small]])["pixel_values"]
    theirs = processor(images=[photo], return_tensors="pt")["pixel_values"]
    rounding = 1.0 / 255.0 / 0.5  # a byte, over SigLIP's standard deviation
    assert (ours - theirs).abs().max() < 1.5 * rounding
    assert (ours - theirs).abs().mean() < 0.5 * rounding


def test_pictures_stay_in_order_and_unclipped() -> None:
    noisy = [[np.full((4, 4, 3), v, np.float32) for v in row] for row in ((-0.5,), (0.0, 1.5), (2.0,))]
    values = stacked(noisy, CPU)
    assert values.shape == (4, 3, 4, 4)
    assert values[:, 0, 0, 0].tolist() == [-0.5, 0.0, 1.5, 2.0]
    tensors = [[torch.from_numpy(picture) for picture in row] for row in noisy]
    assert torch.equal(stacked(tensors, CPU), values), "pictures made on the device are taken as they are"
    assert np.asarray(picture_of(noisy[1][1])).max() == 255, "only pictures are clipped"
    assert np.array_equal(np.asarray(picture_of(tensors[2][0])), np.full((4, 4, 3), 255))


def test_processors_that_do_more_get_pictures_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    processor = Idefics3ImageProcessorPil(size={"longest_edge": 224}, max_image_size={"longest_edge": 56})
    options = one_tile_options(processor, (56, 56))
    with caplog.at_level(logging.WARNING):
        path = pixel_path(processor, options, ("pixel_values", "pixel_attention_mask"), (56, 56), CPU)
    assert isinstance(path, ProcessorPictures)
    assert "slower" in caplog.text
    batch = path([[np.full((56, 56, 3), 2.0, np.float32)]])
    assert batch["pixel_values"].shape == (1, 1, 3, 56, 56)
    assert batch["pixel_values"].max() == pytest.approx(1.0), "clipped"


def test_a_processor_that_changes_pixels_is_not_taken_for_one_that_does_not() -> None:
    smaller = SiglipImageProcessorPil(size={"height": 112, "width": 112})
    assert isinstance(pixel_path(smaller, {}, PIXELS, (224, 224), CPU), ProcessorPictures)


def test_a_processor_that_fails() -> None:
    def broken(**_: Any) -> None:
        raise ValueError("wrong moon")

    with pytest.raises(ModelError, match="wrong moon"):
        pixel_path(broken, {}, PIXELS, (8, 8), CPU)


def test_one_tile_options() -> None:
    idefics = Idefics3ImageProcessorPil(size={"longest_edge": 1456}, max_image_size={"longest_edge": 364})
    assert one_tile_options(idefics, (364, 364)) == {"do_image_splitting": False, "size": {"longest_edge": 364}}
    assert one_tile_options(LlavaNextImageProcessorPil(), (336, 336)) == {"image_grid_pinpoints": [[336, 336]]}
    assert one_tile_options(CLIPImageProcessorPil(), (224, 224)) == {}


def test_the_resolution_of_a_model() -> None:
    class Config:
        vision_config = None

    class FreeSize:
        size: dict[str, int] = {"shortest_edge": 56 * 56}  # noqa: RUF012
        patch_size, merge_size = 14, 2

    assert own_resolution(CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size=336), Config) == (336, 336)
    assert own_resolution(SiglipImageProcessorPil(size={"height": 20, "width": 30}), Config) == (20, 30)
    assert own_resolution(FreeSize, Config) == (FREE_SIZE, FREE_SIZE)
    with pytest.raises(ModelError, match="pass resolution"):
        own_resolution(object(), Config)


def test_a_torchvision_that_does_not_import_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms')")
    monkeypatch.setitem(sys.modules, "torchvision", None)  # put back what is there, afterwards
    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.syspath_prepend(tmp_path)
    assert not torchvision_works()
    assert sys.modules["torchvision"] is None, "transformers, which only asks for it, does not find it either"
    assert not torchvision_works()
