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
from neuvid.training.optimisers import Soap, make_optimisers


def quadratic() -> tuple[Tensor, Callable[[], Tensor]]:
    """Return a convolution's weight, and a loss with long valleys across its channels."""
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(16, 24, 1, 1))
    outputs, inputs = (
        torch.linalg.qr(torch.randn(n, n)).Q * torch.logspace(-1.5, 0, n) for n in weight.shape[:2]
    )
    return weight, lambda: (outputs.T @ weight[..., 0, 0] @ inputs).square().sum()


def take_steps(
    optimiser: Optimizer, loss: Callable[[], Tensor], steps: int, *, scale: float = 1.0
) -> float:
    for _ in range(steps):
        torch.autograd.backward(loss())
        for group in optimiser.param_groups:
            group["lr"] = 0.02
        optimiser.grad_scale = torch.tensor(scale)  # type: ignore[attr-defined]
        optimiser.found_inf = torch.tensor(0.0)  # type: ignore[attr-defined]
        optimiser.step()
        optimiser.zero_grad()
    return loss().item()


def test_valleys_across_channels_are_no_obstacle() -> None:
    ends = []
    for soap in (False, True):
        weight, loss = quadratic()
        (optimiser,) = make_optimisers([weight], [], soap=soap, dtype=torch.float32)
        ends.append(take_steps(optimiser, loss, 300))
    assert ends[1] < 0.1 * ends[0]


def test_a_run_goes_on_from_the_state_as_if_it_had_not_ended() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        weight, loss = quadratic()
        optimiser = Soap([weight], dtype=dtype)
        take_steps(optimiser, loss, 15)
        state, values = copy.deepcopy(optimiser.state_dict()), weight.detach().clone()
        straight = take_steps(optimiser, loss, 30)
        with torch.no_grad():
            weight.copy_(values)
        again = Soap([weight], dtype=dtype)
        again.load_state_dict(state)
        assert take_steps(again, loss, 30) == straight


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
