"""Laws of the spatial priors and of what codes for them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuvid.entropy.coder import RateEstimator
from neuvid.entropy.distributions import (
    ERROR_PER_BIT,
    SCALE_LEVELS,
    SCALE_USEFUL,
    SKIP,
    Distribution,
    Gaussian,
    Laplace,
    level_scales,
    scale_thresholds,
)
from neuvid.entropy.tables import TOTAL, EntropyTables
from neuvid.nn.rounding import lower_bound
from neuvid.priors.checkerboard import FOUR_STEPS, TWO_STEPS, Pattern, code_in_steps


class Exact:
    """A coder that loses nothing and keeps what it was given."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        assert values is not None
        self.seen.append(values)
        return values


@pytest.mark.parametrize("pattern", [TWO_STEPS, FOUR_STEPS])
@pytest.mark.parametrize("height, width", [(1, 1), (3, 5), (8, 6)])
def test_every_value_is_coded_once(pattern: Pattern, height: int, width: int) -> None:
    values = torch.randn(2, 8, height, width)
    coder = Exact()
    seen_before = []

    def parameters(step: int, coded: Tensor) -> tuple[Tensor, Tensor]:
        seen_before.append((coded != 0).float().mean())
        return torch.ones_like(coded), 0.25 * torch.ones_like(coded)

    result = code_in_steps(values, pattern, parameters, torch.zeros_like(values), coder)
    assert torch.allclose(result, values, atol=1e-6)
    assert sum(seen.numel() for seen in coder.seen) == values.numel()
    assert torch.allclose(torch.stack(seen_before), torch.arange(len(pattern)) / len(pattern))


def test_reading_needs_no_values() -> None:
    class Ones:
        def code(self, values: Tensor | None, law: Distribution) -> Tensor:
            assert values is None
            return torch.ones(law.shape)

    zeros = torch.zeros(1, 4, 2, 2)
    result = code_in_steps(None, TWO_STEPS, lambda _, coded: (coded + 1, coded), zeros, Ones())
    assert result.shape == zeros.shape


def test_useless_scales_cost_nothing_and_code_zero() -> None:
    scales = torch.tensor([0.11, SCALE_USEFUL, 0.13, 5.0]).view(1, 4, 1, 1)
    law = Gaussian(scales)
    assert law.coded(torch.full_like(scales, 3.0)).flatten().tolist() == [0, 0, 3, 3]
    assert float(law.bits(torch.zeros_like(scales))[0, 0]) < 1e-4


@pytest.mark.parametrize("family", [Gaussian, Laplace])
def test_no_other_integer_costs_less_in_error_and_bits(family: type[Gaussian | Laplace]) -> None:
    torch.manual_seed(0)
    values = 4 * torch.randn(1, 1, 50, 50)
    law = family(0.2 + 3 * torch.rand_like(values))

    def cost(integers: Tensor) -> Tensor:
        return (values - integers).square() + ERROR_PER_BIT * law.bits(integers)

    chosen = law.quantise(values)
    assert (chosen != values.round()).any()
    for other in (values.floor(), values.ceil(), values.round()):
        assert (cost(chosen) <= cost(other) + 1e-6).all()


@pytest.mark.parametrize("law", [Gaussian, Laplace])
def test_a_law_may_code_everything(law: type[Gaussian | Laplace]) -> None:
    scales = torch.tensor([0.01, 0.05, 0.2, 5.0]).view(1, 4, 1, 1)
    thresholds = torch.from_numpy(scale_thresholds())
    values = torch.full_like(scales, -3.0)
    assert torch.equal(law(scales, skips=False).coded(values), values)
    rows, skipping = law(scales, skips=False).rows(thresholds), law(scales).rows(thresholds)
    assert ((law.first_row <= rows) & (rows < law.first_row + SCALE_LEVELS)).all()
    assert (skipping == SKIP).flatten().tolist() == [True, True, False, False]
    assert torch.equal(skipping[skipping != SKIP], rows[skipping != SKIP])


@pytest.mark.parametrize("law", [Gaussian, Laplace])
def test_bits_of_a_law_are_those_of_its_mass(law: type[Gaussian | Laplace]) -> None:
    symbols = torch.arange(-40.0, 41.0).view(1, 1, 1, 81)
    mass = torch.exp2(-law(torch.full_like(symbols, 3.0)).bits(symbols))
    assert float(mass.sum()) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("law", [Gaussian, Laplace])
def test_estimated_bits_are_those_of_the_tables(law: type[Gaussian | Laplace]) -> None:
    tables = EntropyTables.concatenate([Gaussian.tables(), Laplace.tables()])
    thresholds = torch.from_numpy(scale_thresholds())
    for scale in level_scales()[20:-20:10] / law.spread:
        at = law(torch.full((1, 1, 1, 1), scale))
        row = int(at.rows(thresholds))
        bounds = tables.cumulative[tables.starts[row] : tables.starts[row + 1]].astype(float)
        for symbol in range(4):
            k = symbol - tables.offsets[row]
            if k < len(bounds) - 2 and bounds[k + 1] - bounds[k] > 30:
                expected = -math.log2((bounds[k + 1] - bounds[k]) / TOTAL)
                estimate = float(at.bits(torch.full((1, 1, 1, 1), float(symbol))))
                assert estimate == pytest.approx(expected, abs=0.05)


def test_training_counts_the_bits_of_rounded_values() -> None:
    torch.manual_seed(0)
    values = 2 * torch.randn(1, 1, 100, 100)
    noisy, exact = RateEstimator(noise=True), RateEstimator(noise=False)
    for coder in (noisy, exact):
        coder.code(values, Gaussian(torch.full_like(values, 2.0)))
    torch.testing.assert_close(noisy.total(), exact.total())


def test_laws_learn_from_rounded_values_and_values_from_noise() -> None:
    torch.manual_seed(0)
    values = torch.full((1, 1, 100, 100), 0.3, requires_grad=True)
    scales = torch.full((1, 1, 100, 100), 0.3, requires_grad=True)
    coder = RateEstimator(noise=True)
    rounded = coder.code(values, Gaussian(scales))
    (straight,) = torch.autograd.grad(rounded.sum(), values, retain_graph=True)
    assert torch.equal(straight, torch.ones_like(values))
    of_values, of_scales = torch.autograd.grad(coder.total().sum(), (values, scales))
    exact = Gaussian(scales).bits(torch.zeros_like(values))
    assert torch.equal(of_scales, torch.autograd.grad(exact.sum(), scales)[0])
    # The mean slope of the bits under noise is their difference across the interval.
    law = Gaussian(scales.detach())
    slope = law.bits(torch.full_like(values, 0.8)) - law.bits(torch.full_like(values, -0.2))
    assert float(of_values.mean()) == pytest.approx(float(slope.mean()), rel=0.05)


def test_lower_bound_lets_only_rescue_through() -> None:
    values = torch.tensor([0.0, 0.0, 2.0], requires_grad=True)
    bounded = lower_bound(values, 1.0)
    loss = (bounded * torch.tensor([1.0, -1.0, 1.0])).sum()
    (gradient,) = torch.autograd.grad(loss, values)
    assert bounded.tolist() == [1.0, 1.0, 2.0]
    assert gradient.tolist() == [0.0, -1.0, 1.0]
