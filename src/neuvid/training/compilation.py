"""Compiles the blocks of a model where that makes training faster, which only trying tells."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from neuvid.nn.blocks import DepthConvBlock

REPEATS = 3  # timed runs of each way, after two that compile and warm up
SHAPES_MAX = 64  # of blocks, for each of which code is made
COMPILED = "compiled blocks"


@dataclass(frozen=True, slots=True)
class Choice:
    """The fastest of several ways, how many times as fast as the first it is, and what failed."""

    name: str
    ratio: float
    failures: dict[str, str]  # why, by the name of the way

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.ratio:.2f} times the speed of plain PyTorch"]
        parts += [f"{name} failed ({reason})" for name, reason in self.failures.items()]
        return ", ".join(parts)


def choose(ways: Mapping[str, Callable[[], object]]) -> Choice:
    """Return the fastest way to do the same work; the first is what the others must beat.

    A way that raises is out. Raises what the first raises.
    """
    seconds: dict[str, float] = {}
    failures: dict[str, str] = {}
    first = next(iter(ways))
    for name, work in ways.items():
        try:
            seconds[name] = _seconds(work)
        except Exception as error:
            if name == first:
                raise
            failures[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    fastest = min(seconds, key=lambda name: seconds[name])
    return Choice(fastest, seconds[first] / seconds[fastest], failures)


def _seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(2 + REPEATS):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[2:])


def speed_up(model: nn.Module, work: Callable[[], object]) -> Choice:
    """Leave a model's blocks compiled if `work`, which runs the model, is faster then.

    Code is made for each shape of a block. Shapes that come later and cannot be compiled run as
    they are.
    """
    config = torch._dynamo.config
    config.recompile_limit, config.suppress_errors = SHAPES_MAX, False

    def compiled() -> None:
        for block in _blocks(model):
            if "forward" not in vars(block):
                block.forward = torch.compile(block.forward, dynamic=False)  # type: ignore[method-assign]
        work()

    use_as_they_are(model)
    choice = choose({"blocks as they are": work, COMPILED: compiled})
    if choice.name != COMPILED:
        use_as_they_are(model)
    config.suppress_errors = True
    return choice


def use_as_they_are(model: nn.Module) -> None:
    """Undo what `speed_up` has done to the blocks of a model."""
    for block in _blocks(model):
        vars(block).pop("forward", None)


def _blocks(model: nn.Module) -> list[DepthConvBlock]:
    return [module for module in model.modules() if isinstance(module, DepthConvBlock)]
