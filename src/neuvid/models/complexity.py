"""How many parameters a model has, and how many multiplications a frame takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuvid.choice import FrameChoice, FrameKind
from neuvid.entropy.coder import RateEstimator
from neuvid.models.base import ModelConfig, State, VideoModel
from neuvid.models.presets import build_model
from neuvid.nn.slimmable import Slimmable

SIDE = 64  # pixels along the side of the frame that is counted: one position of z


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity:
    """Parameters of the networks, and multiply-accumulates of their convolutions.

    `intra`, and `inter` for each route, hold by the name of each module the kMAC per pixel of
    encoding and rendering a frame; the inter frame is an ordinary one, which follows an inter
    frame. `agent` holds those of the network by which an encoder may foresee rates, apart from
    the search for motion.
    """

    image_parameters: int
    video_parameters: int
    agent_parameters: int
    intra: dict[str, float]
    inter: tuple[dict[str, float], ...]
    agent: dict[str, float]

    @property
    def inter_totals(self) -> list[float]:
        """The kMAC per pixel of all modules for an inter frame, by route."""
        return [sum(route.values()) for route in self.inter]


def measure_complexity(config: ModelConfig) -> Complexity:
    """Return the complexity of the models of a config."""
    with torch.device("meta"):
        model = build_model(config)
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    parts = dict(model.named_children())
    image = _parameters(parts["intra"])
    agent = _parameters(parts["agent"]) if "agent" in parts else 0
    walks = _Walks(model)
    return Complexity(
        image_parameters=image,
        video_parameters=_parameters(model) - image - agent,
        agent_parameters=agent,
        intra=walks.intra,
        inter=tuple(walks.inter(route) for route in range(model.routes)),
        agent=walks.agent() if agent else {},
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class _Walks:
    """Counts what a model does after an intra frame and an inter frame."""

    def __init__(self, model: VideoModel[Any]) -> None:
        self.model = model
        self.frame = torch.zeros(1, 3, SIDE, SIDE)
        self.state: State = model.initial_state(SIDE, SIDE)
        with _counting(model, 0) as self.intra:
            self._code(FrameChoice(FrameKind.INTRA))
        self._code(FrameChoice(FrameKind.INTER))

    def inter(self, route: int) -> dict[str, float]:
        """Return the kMAC per pixel of an inter frame on a route."""
        with _counting(self.model, route) as counts:
            self._code(FrameChoice(FrameKind.INTER, route=route))
        return counts

    def agent(self) -> dict[str, float]:
        """Return the kMAC per pixel of foreseeing rates."""
        with _counting(self.model, 0) as counts, torch.inference_mode():
            self.model.foresee(self.frame, self.state)
        return {name: count for name, count in counts.items() if name.startswith("agent.")}

    @torch.inference_mode()
    def _code(self, choice: FrameChoice) -> None:
        estimator = RateEstimator(noise=False)
        self.state = self.model.code_frame(self.frame, self.state, choice, estimator)
        self.model.render(self.state)


@contextmanager
def _counting(model: nn.Module, route: int) -> Iterator[dict[str, float]]:
    """Count kMAC per pixel by the name of each convolution on a route while the block lasts."""
    counts: Counter[str] = Counter()
    hooks = [
        convolution.register_forward_hook(_counter(counts, name))
        for name, convolution in _convolutions(model, route)
    ]
    numbers: dict[str, float] = {}
    yield numbers
    for hook in hooks:
        hook.remove()
    numbers.update({name: count / SIDE**2 / 1000 for name, count in counts.items()})


def _convolutions(model: nn.Module, route: int) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield the convolutions that a route may use, by name."""
    for name, module in model.named_modules():
        if isinstance(module, Slimmable):
            for inner, convolution in _convolutions(module.network(route), route):
                yield f"{name}.{inner}", convolution
        elif isinstance(module, nn.Conv2d):
            yield name, module


def _counter(counts: Counter[str], name: str) -> Callable[[nn.Conv2d, object, Tensor], None]:
    def add(module: nn.Conv2d, _: object, output: Tensor) -> None:
        counts[name] += output.numel() * module.weight[0].numel()

    return add
