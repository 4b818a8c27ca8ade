"""The linear resize: against PyTorch, against its own matrix, and its norm against a power iteration."""

import hashlib
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrail.certify import resize as module
from guardrail.certify.resize import _kept_rows, resize, resize_matrix, resize_norm

SIDES = st.integers(1, 40)


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3))


def _power_iteration(size_in: tuple[int, int], size_out: tuple[int, int], steps: int = 400) -> float:
    """Returns the gain of `resize` itself on the direction that iterating it and its transpose finds."""
    a_h, a_w = resize_matrix(size_in[0], size_out[0]), resize_matrix(size_in[1], size_out[1])
    x = 0.5 + _picture(*size_in)[..., :1]
    for _ in range(steps):
        x /= np.linalg.norm(x)
        y = resize(x, size_out)
        x = np.einsum("hH,hwc,wW->HWc", a_h, y, a_w)
    return float(np.linalg.norm(resize(x / np.linalg.norm(x), size_out)))


@pytest.mark.parametrize(
    ("n_in", "n_out", "norm"), [(1024, 336, 0.5737), (672, 336, 0.7075), (224, 336, 1.2247), (64, 336, 2.2913)]
)
def test_norm_of_one_axis_has_the_values_of_the_theory(n_in: int, n_out: int, norm: float) -> None:
    assert resize_norm((n_in, 7), (n_out, 7)) == pytest.approx(norm, abs=5e-5)
    assert resize_norm((7, n_in), (7, n_out)) == pytest.approx(norm, abs=5e-5)
    assert resize_norm((n_in, n_in), (n_out, n_out)) == pytest.approx(norm**2, abs=2e-4)


@pytest.mark.parametrize("size_in", [(1, 1), (1, 9), (31, 17), (64, 200), (97, 33)])
@pytest.mark.parametrize("size_out", [(1, 1), (5, 2), (16, 16), (33, 70), (128, 11)])
def test_agrees_with_torch(size_in: tuple[int, int], size_out: tuple[int, int]) -> None:
    x = _picture(*size_in)  # PyTorch itself is wrong where the output is one pixel wide and higher: not among the sizes
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(x).permute(2, 0, 1)[None], size=size_out, mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(resize(x, size_out), theirs[0].permute(1, 2, 0).numpy(), atol=1e-12)


def test_agrees_with_torch_on_a_wide_8_bit_picture() -> None:
    x = np.random.default_rng(1).integers(0, 256, (300, 1024, 3), dtype=np.uint8)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(x / 255.0).permute(2, 0, 1)[None], size=(96, 96), mode="bilinear", antialias=True
    )
    ours = resize(x, (96, 96))
    np.testing.assert_allclose(ours, theirs[0].permute(1, 2, 0).numpy(), atol=1e-12)
    assert ours.dtype == np.float64
    assert ours.flags.c_contiguous
    assert ours.min() >= 0
    assert ours.max() <= 1


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(h=SIDES, w=SIDES, h_out=SIDES, w_out=SIDES, seed=st.integers(0, 2**32 - 1))
def test_is_its_matrices_linear_and_bounded_by_its_norm(h: int, w: int, h_out: int, w_out: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, h, w, 3))
    a, b = rng.normal(size=2)
    size = (h_out, w_out)
    a_h, a_w = resize_matrix(h, h_out), resize_matrix(w, w_out)
    np.testing.assert_allclose(a_h.sum(axis=1), 1.0, atol=1e-12)
    assert a_h.min() >= 0
    np.testing.assert_allclose(resize(x, size), np.einsum("hH,HWc,wW->hwc", a_h, x, a_w), atol=1e-12)
    np.testing.assert_allclose(resize(a * x + b * y, size), a * resize(x, size) + b * resize(y, size), atol=1e-11)

    norm = resize_norm((h, w), size)
    assert np.linalg.norm(resize(x, size)) <= norm * np.linalg.norm(x)
    exact = np.linalg.svd(a_h, compute_uv=False)[0] * np.linalg.svd(a_w, compute_uv=False)[0]
    assert exact * (1 - 1e-14) <= norm <= exact * (1 + 1e-9)
    top = np.outer(np.linalg.svd(a_h)[2][0], np.linalg.svd(a_w)[2][0])[..., None]
    assert np.linalg.norm(resize(top, size)) == pytest.approx(norm, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size_in", "size_out"), [((50, 31), (13, 13)), ((9, 60), (24, 24)), ((1, 33), (8, 8)), ((21, 21), (64, 5))]
)
def test_norm_agrees_with_a_power_iteration(size_in: tuple[int, int], size_out: tuple[int, int]) -> None:
    assert _power_iteration(size_in, size_out) == pytest.approx(resize_norm(size_in, size_out), rel=1e-4)


def test_norm_of_large_pictures_is_that_of_the_dense_matrix() -> None:
    for n_in, n_out in [(3000, 96), (1023, 64), (97, 96), (95, 96), (11, 640)]:
        exact = np.linalg.norm(resize_matrix(n_in, n_out), 2)
        assert resize_norm((n_in, n_in), (n_out, n_out)) == pytest.approx(exact**2, rel=1e-9)
    assert resize_norm((65_535, 600), (336, 336)) < 0.1


def test_own_size_is_the_identity() -> None:
    x = np.random.default_rng(2).integers(0, 256, (12, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(x, (12, 30)), x / 255.0)
    np.testing.assert_array_equal(resize(x / 255.0, (12, 30)), x / 255.0)
    np.testing.assert_array_equal(resize_matrix(9, 9), np.eye(9))
    assert resize_norm((12, 30), (12, 30)) == 1.0


def test_neither_rounds_nor_clips_nor_touches_its_input() -> None:
    x = np.full((8, 8, 3), 1.5, dtype=np.float32)
    x[::2] = -0.25
    before = x.copy()
    small = resize(x, (4, 8))
    np.testing.assert_array_equal(x, before)
    assert small.min() < 0.625 < small.max()
    np.testing.assert_allclose(resize(np.full((5, 6, 3), -3.7), (9, 2)), -3.7, rtol=1e-15)


@pytest.mark.parametrize(
    ("pixels", "size"),
    [
        (np.zeros((4, 4), np.uint8), (2, 2)),
        (np.zeros((4, 4, 3), np.int64), (2, 2)),
        (np.zeros((4, 4, 3)), (0, 2)),
        (np.zeros((4, 4, 3)), (2, -1)),
        (np.zeros((0, 4, 3)), (2, 2)),
    ],
)
def test_refuses_other_arrays_and_sizes(pixels: np.ndarray, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        resize(pixels, size)


def test_norm_refuses_empty_sides() -> None:
    for sizes in [((0, 3), (2, 3)), ((3, 3), (3, 0)), ((0, 0), (0, 0))]:
        with pytest.raises(ValueError, match="at least 1"):
            resize_norm(*sizes)


def test_weights_of_very_long_sides_are_not_kept() -> None:
    """Whoever sends pictures chooses their sides: weights of 64 long ones would fill gigabytes."""
    before = _kept_rows.cache_info().currsize
    assert resize(np.zeros((1, 1_000_003, 1), np.uint8), (1, 8)).shape == (1, 8, 1)
    assert resize_norm((1, 1_000_003), (1, 8)) > 0.0
    assert _kept_rows.cache_info().currsize == before


def test_the_bits_are_those_that_stored_certificates_are_keyed_by() -> None:
    x = np.random.default_rng(5).integers(0, 256, (333, 777, 3), dtype=np.uint8)
    both = resize(x, (96, 120)).tobytes() + resize(x, (700, 96)).tobytes()
    assert hashlib.sha256(both).hexdigest() == "2b957741f87b3235e179fa09aa1059a6e916f07ff37e052ee26378745c79161d"


@pytest.mark.parametrize("band", [7, 100, 2000])
@pytest.mark.parametrize("size", [(17, 5), (41, 70), (90, 29), (1, 1)])
def test_bands_change_no_bit(band: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for x in (_picture(41, 29), np.random.default_rng(3).integers(0, 256, (60, 33, 3), dtype=np.uint8)):
        whole = resize(x, size).tobytes()
        with monkeypatch.context() as changed:
            changed.setattr(module, "_BAND", band)
            assert resize(x, size).tobytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(610, 65_535), (65_535, 610), (5000, 8000)])
@pytest.mark.parametrize("size", [(6, 640), (640, 6), (336, 336)])
def test_no_picture_stands_in_memory_as_floats(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """Forty million pixels would be 960 MB."""
    x = np.zeros((*shape, 3), np.uint8)
    tracemalloc.start()
    try:
        resize(x, size)
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()
