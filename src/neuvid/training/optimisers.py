"""What updates the weights of a stage: AdamW, and SOAP for matrices where a recipe wants it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from neuvid import _fused
from neuvid.kernels import LEVELS

BETAS, WEIGHT_DECAY = (0.9, 0.98), 1e-4  # of AdamW
PRIOR_GAIN = 20.0  # times the learning rate: every quality has priors of its own, seldom seen
BETA, EPSILON = 0.95, 1e-8  # of SOAP
REFRESH_STEPS = 12  # between refreshes of the bases,
PRODUCT_STEPS = 4  # and between those that are averaged for them
SIDE_MIN, SIDE_MAX = 16, 256  # of matrices, and of what has an eigenbasis
SIDES = ("outputs", "inputs")

State = dict[str, Tensor]  # of a parameter, or of N matrices of one shape
States = dict[str, State]  # of parameters by name


class Soap(Optimizer):
    """Adam in the eigenbasis of each matrix's gradients ("SOAP", N. Vyas and others, 2024).

    Weights of convolutions are matrices [outputs, all else]; those of one shape are updated at
    once, with products in `dtype`. Sides longer than `SIDE_MAX` keep their own basis. As in a
    fused AdamW, gradients are divided by `grad_scale`, and nothing changes where `found_inf` is 1.
    """

    grad_scale: Tensor
    found_inf: Tensor

    def __init__(self, parameters: Iterable[Tensor], *, dtype: torch.dtype) -> None:
        super().__init__(sorted(parameters, key=_matrix_shape), {"lr": 1e-3, "gain": 1.0})
        self.dtype = dtype
        self._stacks: dict[tuple[int, int], State] = {}  # of which each weight's state is a part
        self.register_load_state_dict_post_hook(lambda _: self._stacks.clear())

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights; those without a gradient as if it were zero."""
        if self.found_inf:
            return
        for group in self.param_groups:
            for shape, members in groupby(group["params"], _matrix_shape):
                self._update(list(members), shape, group["lr"])

    def _update(self, weights: list[Tensor], shape: tuple[int, int], rate: float) -> None:
        gradients = torch.zeros(len(weights), *shape, dtype=self.dtype, device=weights[0].device)
        present = [number for number, each in enumerate(weights) if each.grad is not None]
        views = [gradients[number].view(weights[number].shape) for number in present]
        given = [each.grad for each in weights if each.grad is not None]
        torch._foreach_copy_(views, given)
        if shape not in self._stacks:
            self._stacks[shape] = self._stack(weights, gradients)
        changes = _change(self._stacks[shape], gradients, self.grad_scale)
        parts = [part.view(each.shape) for part, each in zip(changes, weights, strict=True)]
        torch._foreach_add_(weights, parts, alpha=-rate)

    def _stack(self, weights: list[Tensor], gradients: Tensor) -> State:
        """Return the states of weights of one shape, as they were loaded or at the beginning."""
        states = [self.state[weight] for weight in weights]
        if all(states):
            stack = {name: torch.stack([state[name] for state in states]) for name in states[0]}
            for name in stack.keys() & {f"{side} basis" for side in SIDES}:
                stack[name] = stack[name].to(self.dtype)
        else:
            stack = _begin(gradients, self.grad_scale)
        for number, weight in enumerate(weights):
            self.state[weight] = {name: values[number] for name, values in stack.items()}
        return stack


def _begin(gradients: Tensor, scale: Tensor) -> State:
    zeros = torch.zeros_like(gradients, dtype=torch.float32)
    state = {
        "step": torch.zeros(len(gradients), dtype=torch.int64),
        "momentum": zeros,  # in the eigenbasis
        "squares": zeros.clone(),
    }
    for side, length in zip(SIDES, gradients.shape[1:], strict=True):
        if length <= SIDE_MAX:
            products = _products(gradients, side).float() / scale.square()
            state[f"{side} products"] = products  # running averages [N, length, length]
            state[f"{side} basis"] = torch.linalg.qr(products).Q.to(gradients.dtype).contiguous()
    return state


def _change(state: State, gradients: Tensor, scale: Tensor) -> Tensor:
    """Return what the weights change by, for a learning rate of 1."""
    state["step"] += 1
    step = int(state["step"][0])
    change = _adam_change(state, _rotate(state, gradients), scale, step).to(gradients.dtype)
    change = _rotate(state, change, back=True)
    if step % PRODUCT_STEPS == 0:
        for side in SIDES:
            if f"{side} products" in state:
                products = _products(gradients, side).float().div_(scale.square())
                state[f"{side} products"].lerp_(products, 1 - BETA**PRODUCT_STEPS)
    if step % REFRESH_STEPS == 0:
        _refresh(state, gradients.dtype)
    return change


def _adam_change(state: State, rotated: Tensor, scale: Tensor, step: int) -> Tensor:
    """Return what Adam would change by in the eigenbasis, and keep its averages."""
    momentum, squares = state["momentum"], state["squares"]
    growth = 1 - BETA**step  # of averages that began at zero
    if LEVELS and momentum.device.type == "cpu":
        rotated = rotated.float().contiguous()
        _fused.adam_change(
            gradients=rotated.view(-1).numpy(),
            momentum=momentum.view(-1).numpy(),
            squares=squares.view(-1).numpy(),
            beta=BETA,
            epsilon=EPSILON,
            growth=growth,
            scale=float(scale),
        )
        return rotated
    rotated = rotated.float() / scale
    momentum.lerp_(rotated, 1 - BETA)
    squares.lerp_(rotated.square_(), 1 - BETA)
    sizes = squares.sqrt().mul_(growth**0.5).add_(growth * EPSILON)
    return torch.div(momentum, sizes, out=sizes)


def _products(gradients: Tensor, side: str) -> Tensor:
    return gradients @ gradients.mT if side == SIDES[0] else gradients.mT @ gradients


def _rotate(state: State, matrices: Tensor, *, back: bool = False) -> Tensor:
    """Return matrices in the eigenbasis, or back from it."""
    outputs, inputs = (state.get(f"{side} basis") for side in SIDES)
    if outputs is not None:
        basis = outputs.to(matrices.dtype)
        matrices = (basis if back else basis.mT) @ matrices
    if inputs is not None:
        basis = inputs.to(matrices.dtype)
        matrices = matrices @ (basis.mT if back else basis)
    return matrices


def _refresh(state: State, dtype: torch.dtype) -> None:
    """Take the bases a power iteration further, and the momentum along."""
    momentum = _rotate(state, state["momentum"].to(dtype), back=True)
    for side in SIDES:
        if f"{side} products" in state:
            products = state[f"{side} products"] @ state[f"{side} basis"].float()
            state[f"{side} basis"].copy_(torch.linalg.qr(products).Q)
    state["momentum"].copy_(_rotate(state, momentum))


def _matrix_shape(weight: Tensor) -> tuple[int, int]:
    outputs, *others = weight.shape
    return outputs, math.prod(others)


def _is_matrix(parameter: Tensor) -> bool:
    """Return whether it is the weight of a convolution between channels."""
    is_convolution = parameter.dim() == 4 and parameter.shape[1] > 1
    return is_convolution and min(_matrix_shape(parameter)) >= SIDE_MIN


def divide(parameters: Iterable[Tensor], shares: int, *, soap: bool) -> list[list[Tensor]]:
    """Return parameters in lists that take about as long to update.

    Those of one shape, which are updated at once, stay together where they can.
    """
    ordered = sorted(parameters, key=lambda each: tuple(each.shape))
    costs = [_cost(parameter, soap=soap) for parameter in ordered]
    divided: list[list[Tensor]] = [[] for _ in range(shares)]
    for parameter, cost, end in zip(ordered, costs, accumulate(costs), strict=True):
        middle = end - cost / 2
        divided[int(middle / sum(costs) * shares)].append(parameter)
    return divided


def _cost(parameter: Tensor, *, soap: bool) -> float:
    """Return about how many microseconds a parameter takes to update on one core."""
    count = parameter.numel()
    if not (soap and _is_matrix(parameter)):
        return 1 + 0.004 * count
    sides = [side for side in _matrix_shape(parameter) if side <= SIDE_MAX]
    return 50 + 0.004 * count + sum(1e-5 * side * (count + 2 * side**2) for side in sides)


def make_optimisers(
    parameters: Iterable[Tensor], priors: Iterable[Tensor], *, soap: bool, dtype: torch.dtype
) -> list[Optimizer]:
    """Return the optimisers of parameters, some of which belong to factorised priors.

    Their groups say by which `gain` the learning rate is multiplied.
    """
    prior_ids = {id(parameter) for parameter in priors}
    matrices: list[Tensor] = []
    groups: dict[float, list[Tensor]] = {1.0: [], PRIOR_GAIN: []}
    for parameter in parameters:
        if soap and _is_matrix(parameter):
            matrices.append(parameter)
        else:
            groups[PRIOR_GAIN if id(parameter) in prior_ids else 1.0].append(parameter)
    optimisers: list[Optimizer] = [Soap(matrices, dtype=dtype)] if matrices else []
    with_gains = [{"params": group, "gain": gain} for gain, group in groups.items() if group]
    if with_gains:
        optimisers.append(AdamW(with_gains, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True))
    return optimisers


def states_by_name(optimisers: Iterable[Optimizer], names: Mapping[Tensor, str]) -> States:
    """Return the states of parameters, whose names are given."""
    return {
        names[parameter]: state
        for optimiser in optimisers
        for parameter, state in optimiser.state.items()
    }


def load_states(
    optimisers: Iterable[Optimizer], names: Mapping[Tensor, str], states: States
) -> None:
    """Let optimisers take over the states of their parameters; others may be given, too."""
    for optimiser in optimisers:
        content = optimiser.state_dict()
        parameters = [each for group in optimiser.param_groups for each in group["params"]]
        content["state"] = {
            number: states[names[parameter]]
            for number, parameter in enumerate(parameters)
            if names[parameter] in states
        }
        optimiser.load_state_dict(content)
