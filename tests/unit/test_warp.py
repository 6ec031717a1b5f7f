"""Laws of motion compensation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuvid.nn.flow import MotionEstimator
from neuvid.nn.warp import double_motion, halve_motion, warp


def uniform(right: float, down: float, height: int, width: int) -> Tensor:
    return torch.tensor([right, down]).view(1, 2, 1, 1).expand(1, 2, height, width)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (-2, 5), (40, -40)])
def test_whole_motion_moves_whole_pixels_and_borders_go_on(right: int, down: int) -> None:
    image = torch.rand(1, 3, 9, 14)
    rows = (torch.arange(9) + down).clamp(0, 8)
    columns = (torch.arange(14) + right).clamp(0, 13)
    expected = image[:, :, rows[:, None], columns]
    assert torch.allclose(warp(image, uniform(right, down, 9, 14)), expected, atol=1e-5)


def test_motion_between_pixels_interpolates() -> None:
    image = torch.rand(1, 1, 6, 8)
    half = (image[..., :-1] + image[..., 1:]) / 2
    assert torch.allclose(warp(image, uniform(0.5, 0, 6, 8))[..., :-1], half, atol=1e-6)


def test_each_pixel_and_sample_has_its_own_motion() -> None:
    image, motion = torch.rand(2, 3, 16, 12), 3 * torch.randn(2, 2, 16, 12)
    alone = [warp(image[k : k + 1], motion[k : k + 1]) for k in range(2)]
    assert torch.equal(warp(image, motion), torch.cat(alone))


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), -1e30])
def test_no_motion_is_too_strange(strange: float) -> None:
    image = torch.rand(1, 1, 4, 4)
    assert warp(image, uniform(strange, strange, 4, 4)).shape == image.shape


def with_absolute_places(image: Tensor, motion: Tensor) -> Tensor:
    """Sample as `warp` does, but with places that are rounded to 16 bits."""
    height, width = image.shape[-2:]
    rows, columns = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    right, down = motion.float().unbind(1)
    places = (columns + 2 * right / (width - 1), rows + 2 * down / (height - 1))
    grid = torch.stack(places, -1).to(image.dtype).float()
    warped = functional.grid_sample(
        image.float(), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return warped.to(image.dtype)


def error_ratio(values: Tensor, exact: Tensor) -> float:
    return float((values.float() - exact).abs().sum() / exact.abs().sum())


def test_relative_offsets_lose_nothing_in_16_bits() -> None:
    torch.manual_seed(0)
    image, motion = torch.randn(1, 1, 1080, 1920).half(), torch.randn(1, 2, 1080, 1920).half()
    exact = warp(image.float(), motion.float())
    # The paper measured 16.149 % and 0.026 %.
    assert error_ratio(with_absolute_places(image, motion), exact) == pytest.approx(0.16, abs=0.02)
    assert error_ratio(warp(image, motion), exact) < 0.0003


def test_bfloat16_warps_as_well_as_it_holds_values() -> None:
    torch.manual_seed(0)
    image, motion = torch.randn(1, 1, 270, 480).bfloat16(), torch.randn(1, 2, 270, 480).bfloat16()
    exact = warp(image.float(), motion.float())
    assert error_ratio(warp(image, motion), exact) < 1.1 * error_ratio(exact.bfloat16(), exact)


def test_motion_is_that_of_its_resolution() -> None:
    motion = uniform(6.0, -2.0, 8, 12)
    assert torch.equal(halve_motion(motion), uniform(3.0, -1.0, 4, 6))
    assert torch.allclose(double_motion(motion), uniform(12.0, -4.0, 16, 24))


def test_the_estimator_gives_motion_for_every_pixel() -> None:
    estimator = MotionEstimator()
    with torch.no_grad():
        for parameter in estimator.parameters():
            parameter.zero_()
        estimator.state_dict()["levels.0.8.bias"].copy_(torch.tensor([0.5, -0.25]))  # at 1/8
        motion = estimator(torch.rand(2, 3, 32, 48), torch.rand(2, 3, 32, 48))
    assert torch.allclose(motion, uniform(4.0, -2.0, 32, 48).expand(2, -1, -1, -1))
