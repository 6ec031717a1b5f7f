"""Laws of block motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from neuvid import _motion
from neuvid.nn.motion import (
    compensate_by_definition,
    compensate_features,
    compensate_picture,
    search_motion,
)


def scene(height: int, width: int, down: float = 0.0, right: float = 0.0) -> Tensor:
    """Return smooth luma [1, H, W] whose content is shifted."""
    y = torch.arange(height)[:, None] + down
    x = torch.arange(width) + right
    return (0.5 + 0.2 * torch.sin(0.21 * x + 0.13 * y) + 0.2 * torch.sin(0.37 * y - 0.11 * x))[None]


def random_case(spread: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    reference = torch.rand(2, 3, 48, 64, generator=generator)
    return reference, spread * torch.randn(2, 2, 6, 8, generator=generator)


@pytest.mark.parametrize("spread", [0.3, 5.0, 200.0])
def test_native_compensation_equals_its_definition_bit_for_bit(spread: float) -> None:
    reference, vectors = random_case(spread)
    native = compensate_picture(reference, vectors)
    assert torch.equal(native, compensate_by_definition(reference, vectors))


def test_native_gradient_equals_that_of_the_definition() -> None:
    reference, vectors = random_case(4.0)
    weights = torch.linspace(-1, 1, reference.numel()).view_as(reference)
    gradients = []
    for compensate in (compensate_picture, compensate_by_definition):
        given = reference.clone().requires_grad_()
        torch.autograd.backward(compensate(given, vectors), weights)
        gradients.append(given.grad)
    native, defined = gradients
    torch.testing.assert_close(native, defined, rtol=1e-4, atol=1e-4)


def test_vectors_of_zero_change_nothing() -> None:
    reference, vectors = random_case(0.0)
    torch.testing.assert_close(compensate_picture(reference, vectors), reference)
    features = torch.rand(2, 5, 6, 8)
    assert torch.equal(compensate_features(features, vectors), features)


STILL = torch.zeros(1, 2, 8, 12)


def test_search_finds_motion_that_predicts() -> None:
    current, reference = scene(64, 96, down=1.5, right=-2.25), scene(64, 96)
    vectors = search_motion(current, reference, STILL, torch.tensor([4.0]))
    assert vectors[0, :, 4, 6].tolist() == [-2.25, 1.5]
    prediction = compensate_picture(reference[None], vectors)
    inside = (prediction[0] - current)[:, 16:-16, 16:-16]
    assert inside.abs().max() < 0.01


def test_dearer_bits_make_smoother_vectors() -> None:
    noise = 0.1 * torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(2))
    current, reference = scene(64, 96, right=3.0) + noise, scene(64, 96)
    cheap, dear = (
        search_motion(current, reference, STILL, torch.tensor([cost])) for cost in (0.0, 100.0)
    )

    def roughness(vectors: Tensor) -> float:
        return float(vectors.diff(dim=-1).abs().sum())

    assert roughness(dear) < roughness(cheap)


def test_what_shows_nothing_moves_as_before() -> None:
    grey = torch.full((1, 64, 96), 0.5)
    last = torch.full_like(STILL, -1.25)
    assert torch.equal(search_motion(grey, grey, last, torch.tensor([20.0])), last)


def test_features_move_with_their_pictures() -> None:
    features = scene(12, 16)[None]
    vectors = torch.tensor([16.0, -8.0]).view(1, 2, 1, 1).expand(1, 2, 12, 16)
    moved = compensate_features(features, vectors)
    assert torch.equal(moved[..., 1:, :-2], features[..., :-1, 2:])
    right = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1).expand_as(vectors)
    halfway = (features[..., :-1] + features[..., 1:]) / 2
    torch.testing.assert_close(compensate_features(features, right)[..., :-1], halfway)


def test_native_functions_refuse_other_shapes() -> None:
    reference, vectors = random_case(1.0)
    with pytest.raises(ValueError, match="vectors must be"):
        _motion.predict(reference.numpy(), vectors[..., :-1].contiguous().numpy(), 1)
    luma, last = np.zeros((1, 64, 96), np.uint8), np.zeros((1, 2, 8, 11), np.int16)
    costs = np.array([4.0], np.float32)
    with pytest.raises(ValueError, match="last must be"):
        _motion.search(luma, luma, last, costs, 1)
    with pytest.raises(ValueError, match="multiples of 16"):
        _motion.search(luma[:, :20], luma[:, :20], last, costs, 1)
