"""Laws of the optimiser of matrices."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from neuvid.kernels import LEVELS
from neuvid.training import optimisers
from neuvid.training.optimisers import (
    Soap,
    States,
    divide,
    load_states,
    make_optimisers,
    states_by_name,
)


def quadratic() -> tuple[Tensor, Callable[[], Tensor]]:
    """Return a convolution's weight, and a loss with long valleys across its channels."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(16, 24, 1, 1))
    outputs, inputs = (
        torch.linalg.qr(torch.randn(n, n)).Q * torch.logspace(-1.5, 0, n) for n in weight.shape[:2]
    )
    return weight, lambda: (outputs.T @ weight[..., 0, 0] @ inputs).square().sum()


def update(optimiser: Optimizer, *, scale: float = 1.0) -> None:
    for group in optimiser.param_groups:
        group["lr"] = 0.02
    optimiser.grad_scale = torch.tensor(scale)  # type: ignore[attr-defined]
    optimiser.found_inf = torch.tensor(0.0)  # type: ignore[attr-defined]
    optimiser.step()
    optimiser.zero_grad()


def take_steps(
    optimiser: Optimizer, loss: Callable[[], Tensor], steps: int, *, scale: float = 1.0
) -> float:
    for _ in range(steps):
        torch.autograd.backward(loss())
        update(optimiser, scale=scale)
    return loss().item()


def test_valleys_across_channels_are_no_obstacle() -> None:
    ends = []
    for soap in (False, True):
        weight, loss = quadratic()
        (optimiser,) = make_optimisers([weight], [], soap=soap, dtype=torch.float32)
        ends.append(take_steps(optimiser, loss, 300))
    assert ends[1] < 0.1 * ends[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shares", [1, 2, 5])
def test_runs_go_on_from_the_states_however_the_weights_are_divided(
    dtype: torch.dtype, shares: int
) -> None:
    torch.manual_seed(0)
    shapes = [(16, 144, 1, 1)] * 3 + [(16, 16, 3, 3), (5,), ()]
    weights: list[Tensor] = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    names = {weight: f"weight {number}" for number, weight in enumerate(weights)}

    def go_on(parts: list[list[Tensor]], states: States, steps: int) -> States:
        optimisers = [
            optimiser
            for part in parts
            for optimiser in make_optimisers(part, [], soap=True, dtype=dtype)
        ]
        load_states(optimisers, names, copy.deepcopy(states))
        for _ in range(steps):
            torch.autograd.backward([weight.square().sum() for weight in weights])
            for optimiser in optimisers:
                update(optimiser)
        return copy.deepcopy(states_by_name(optimisers, names))

    states = go_on([weights], {}, 15)
    assert states.keys() == set(names.values())
    middle = [weight.detach().clone() for weight in weights]
    go_on([weights], states, 15)
    ends = [weight.detach().clone() for weight in weights]
    torch._foreach_copy_([weight.data for weight in weights], middle)
    parts = divide(weights, shares, soap=True)
    assert len(parts) == shares and {each for part in parts for each in part} == set(weights)
    go_on(parts, states, 15)
    if shares == 1:
        assert all(torch.equal(*pair) for pair in zip(weights, ends, strict=True))
    torch.testing.assert_close([weight.detach() for weight in weights], ends)


def test_shares_take_about_as_long_to_update() -> None:
    weights = [torch.zeros(64, 64, 1, 1)] * 10 + [torch.zeros(64)] * 10
    for soap in (False, True):
        for shares in (2, 3):
            sizes = [sum(map(torch.numel, part)) for part in divide(weights, shares, soap=soap)]
            assert max(sizes) < 1.5 * min(sizes)


def test_gradients_that_are_not_finite_change_nothing() -> None:
    weight, loss = quadratic()
    optimiser = Soap([weight], dtype=torch.float32)
    take_steps(optimiser, loss, 5)
    before = copy.deepcopy((weight.detach(), optimiser.state_dict()))
    weight.grad = torch.full_like(weight, float("nan"))
    optimiser.found_inf = torch.tensor(1.0)
    optimiser.step()
    weight.grad = None
    assert torch.equal(weight, before[0])
    optimiser.load_state_dict(before[1])
    assert take_steps(optimiser, loss, 20) < loss().item() + 1e-6


def test_the_scale_of_gradients_does_not_matter() -> None:
    ends = []
    for factor in (1.0, 64.0):
        weight, loss = quadratic()
        scaled = [weight, lambda loss=loss, factor=factor: factor * loss()]
        optimiser = Soap([weight], dtype=torch.float32)
        take_steps(optimiser, scaled[1], 30, scale=factor)  # type: ignore[arg-type]
        ends.append(weight.detach().clone())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not LEVELS, reason="this processor has no native layers")
def test_adam_in_the_eigenbasis_is_the_same_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for levels in ([], LEVELS):
        monkeypatch.setattr(optimisers, "LEVELS", levels)
        weight, loss = quadratic()
        take_steps(Soap([weight], dtype=torch.float32), loss, 8, scale=2.0)
        ends.append(weight.detach().clone())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-3, atol=1e-4)


def test_a_matrix_that_gets_no_gradient_does_not_move() -> None:
    weight, loss = quadratic()
    still = nn.Parameter(torch.randn(16, 24, 1, 1))
    before = still.detach().clone()
    take_steps(Soap([still, weight], dtype=torch.float32), loss, 25)
    assert torch.equal(still, before)


def test_matrices_go_to_soap_and_all_else_to_adam() -> None:
    layers = nn.Sequential(
        nn.Conv2d(16, 32, 3), nn.Conv2d(32, 32, 3, groups=32), nn.Conv2d(4, 8, 1)
    )
    prior = nn.Parameter(torch.zeros(4))
    parameters = [*layers.parameters(), prior]
    soap, adam = make_optimisers(parameters, [prior], soap=True, dtype=torch.float32)
    assert [tuple(p.shape) for group in soap.param_groups for p in group["params"]] == [
        (32, 16, 3, 3)
    ]
    gains = {group["gain"]: len(group["params"]) for group in adam.param_groups}
    assert gains == {1.0: 5, 20.0: 1}
