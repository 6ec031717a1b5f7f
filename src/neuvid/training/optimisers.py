"""What updates the weights of a stage: AdamW, and SOAP for matrices where a recipe wants it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
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

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all weights; those without a gradient as if it were zero."""
        if self.found_inf:
            return
        for group in self.param_groups:
            for shape, members in groupby(group["params"], _matrix_shape):
                self._update(list(members), shape, group["lr"])

    def _update(self, weights: list[Tensor], shape: tuple[int, int], rate: float) -> None:
        """Update weights of one shape; the first keeps the state of all."""
        gradients = torch.zeros(len(weights), *shape, dtype=self.dtype, device=weights[0].device)
        present = [number for number, each in enumerate(weights) if each.grad is not None]
        views = [gradients[number].view(weights[0].shape) for number in present]
        given = [each.grad for each in weights if each.grad is not None]
        torch._foreach_copy_(views, given)
        state = self.state[weights[0]]
        if not state:
            _begin(state, gradients, self.grad_scale)
        changes = _change(state, gradients, self.grad_scale)
        parts = [part.view(each.shape) for part, each in zip(changes, weights, strict=True)]
        torch._foreach_add_(weights, parts, alpha=-rate)


State = dict[str, Any]  # of the matrices [N, r, c] of one shape


def _begin(state: State, gradients: Tensor, scale: Tensor) -> None:
    state["step"] = 0
    state["momentum"] = torch.zeros_like(gradients, dtype=torch.float32)  # in the eigenbasis
    state["squares"] = torch.zeros_like(state["momentum"])
    for side, length in zip(SIDES, gradients.shape[1:], strict=True):
        if length <= SIDE_MAX:
            products = _products(gradients, side).float() / scale.square()
            state[f"{side} products"] = products  # running averages [N, length, length]
            state[f"{side} basis"] = torch.linalg.qr(products).Q.to(gradients.dtype)


def _change(state: State, gradients: Tensor, scale: Tensor) -> Tensor:
    """Return what the weights change by, for a learning rate of 1."""
    state["step"] += 1
    change = _adam_change(state, _rotate(state, gradients), scale).to(gradients.dtype)
    change = _rotate(state, change, back=True)
    if state["step"] % PRODUCT_STEPS == 0:
        for side in SIDES:
            if f"{side} products" in state:
                products = _products(gradients, side).float().div_(scale.square())
                state[f"{side} products"].lerp_(products, 1 - BETA**PRODUCT_STEPS)
    if state["step"] % REFRESH_STEPS == 0:
        _refresh(state, gradients.dtype)
    return change


def _adam_change(state: State, rotated: Tensor, scale: Tensor) -> Tensor:
    """Return what Adam would change by in the eigenbasis, and keep its averages."""
    momentum, squares = state["momentum"], state["squares"]
    growth = 1 - BETA ** state["step"]  # of averages that began at zero
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
            state[f"{side} basis"] = torch.linalg.qr(products).Q.to(dtype)
    state["momentum"] = _rotate(state, momentum).float()


def _matrix_shape(weight: Tensor) -> tuple[int, int]:
    outputs, *others = weight.shape
    return outputs, math.prod(others)


def _is_matrix(parameter: Tensor) -> bool:
    """Return whether it is the weight of a convolution between channels."""
    is_convolution = parameter.dim() == 4 and parameter.shape[1] > 1
    return is_convolution and min(_matrix_shape(parameter)) >= SIDE_MIN


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
