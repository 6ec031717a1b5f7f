"""How many parameters a model has, and how many multiplications a frame takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True, slots=True)
class Complexity:
    """Parameters of the two networks, and multiply-accumulates of their convolutions.

    `intra` and `inter`, for each route, hold by the name of each module the kMAC per pixel of
    encoding and rendering a frame; the inter frame is an ordinary one, which follows an inter
    frame.
    """

    image_parameters: int
    video_parameters: int
    intra: dict[str, float]
    inter: tuple[dict[str, float], ...]


def measure_complexity(config: ModelConfig) -> Complexity:
    """Return the complexity of the models of a config."""
    with torch.device("meta"):
        model = build_model(config)
    image = _parameters(model.intra)
    video = _parameters(model) - image
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    state = model.initial_state(SIDE, SIDE)
    state, intra = _count(model, state, FrameChoice(FrameKind.INTRA))
    state, _ = _count(model, state, FrameChoice(FrameKind.INTER))
    choices = [FrameChoice(FrameKind.INTER, route=route) for route in range(model.routes)]
    inter = tuple(_count(model, state, choice)[1] for choice in choices)
    return Complexity(image, video, intra, inter)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _convolutions(model: nn.Module, route: int) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield the convolutions that a route may use, by name."""
    for name, module in model.named_modules():
        if isinstance(module, Slimmable):
            for inner, conv in _convolutions(module.network(route), route):
                yield f"{name}.{inner}", conv
        elif isinstance(module, nn.Conv2d):
            yield name, module


def _counter(counts: Counter[str], name: str) -> Callable[[nn.Conv2d, object, Tensor], None]:
    def add(module: nn.Conv2d, _: object, output: Tensor) -> None:
        counts[name] += output.numel() * module.weight[0].numel()

    return add


@torch.inference_mode()
def _count(
    model: VideoModel[Any], state: State, choice: FrameChoice
) -> tuple[State, dict[str, float]]:
    """Code and render a frame; return the state after it and the kMAC per pixel by module."""
    counts: Counter[str] = Counter()
    hooks = [
        convolution.register_forward_hook(_counter(counts, name))
        for name, convolution in _convolutions(model, choice.route)
    ]
    frame = torch.zeros(1, 3, SIDE, SIDE)
    after = model.code_frame(frame, state, choice, RateEstimator(noise=False))
    model.render(after)
    for hook in hooks:
        hook.remove()
    return after, {name: count / SIDE**2 / 1000 for name, count in counts.items()}
