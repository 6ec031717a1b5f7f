"""Reads the checkpoints that the papers' authors published: their key names into ours."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuvid.errors import UnreadableInput
from neuvid.models.base import VideoModel
from neuvid.models.presets import build_model, preset
from neuvid.models.published_names import FM_IMAGE, FM_VIDEO, RT_IMAGE, RT_VIDEO, Rules

_Z_PARAMETER = re.compile(r"\.f([1-4])\.([hba])$")
_Z_NAMES = {"h": "stretch", "b": "shift", "a": "bend"}

# Our blocks of DCVC-RT use silu(x) where theirs use silu(4 x) / 4.
_ACTIVATION_GAIN = 4.0
_BEFORE_ACTIVATION = (".expand.weight", ".expand.bias", ".widen.weight", ".widen.bias")
_AFTER_ACTIVATION = (".depthwise.weight", ".narrow.weight")


def _rt_value(name: str, value: Tensor) -> Tensor:
    if name.endswith("_bank.vectors"):
        return value.flatten(1)
    if name.endswith(_BEFORE_ACTIVATION):
        return value * _ACTIVATION_GAIN
    if name.endswith(_AFTER_ACTIVATION):
        return value / _ACTIVATION_GAIN
    return value


def _fm_value(name: str, value: Tensor) -> Tensor:
    if name.endswith("_bank.vectors"):
        return value.flatten(1)
    if name.endswith("_scale.logarithms"):
        return value.flatten().log()
    return value


@dataclass(frozen=True, slots=True)
class _Network:
    preset: str  # whose model it is a part of
    title: str
    prefix: str  # of its weights' names in the model
    mark: str  # a key that only this network has
    rules: Rules
    value: Callable[[str, Tensor], Tensor]  # of a weight by our name and the published value


_NETWORKS = (
    _Network("rt", "DCVC-RT image", "intra.", "enc.enc_1.adaptor.weight", RT_IMAGE, _rt_value),
    _Network("rt", "DCVC-RT video", "", "q_recon", RT_VIDEO, _rt_value),
    _Network("fm", "DCVC-FM image", "intra.", "refine.1.weight", FM_IMAGE, _fm_value),
    _Network("fm", "DCVC-FM video", "", "mv_y_q_enc", FM_VIDEO, _fm_value),
)


def read_published(paths: list[Path]) -> tuple[str, VideoModel[Any]]:
    """Return the preset and the model of an image and a video checkpoint, in any order.

    Raises UnreadableInput when a file is no published checkpoint or one of the two is missing.
    """
    return published_model((path, _read(path)) for path in paths)


def published_model(
    checkpoints: Iterable[tuple[object, Mapping[str, Tensor]]],
) -> tuple[str, VideoModel[Any]]:
    """Return the preset and the model of the published weights of checkpoints, each with a name.

    Raises UnreadableInput as `read_published` does.
    """
    found: dict[_Network, dict[str, Tensor]] = {}
    for name, weights in checkpoints:
        network = _identify(name, weights)
        if network in found:
            raise UnreadableInput(name, f"a second {network.title} checkpoint")
        try:
            found[network] = _translate(weights, network)
        except (IndexError, RuntimeError) as error:
            reason = f"not the published {network.title} network ({error})"
            raise UnreadableInput(name, reason) from error
    family = next(iter(found)).preset
    for network in _NETWORKS:
        if network.preset == family and network not in found:
            raise UnreadableInput(name, f"the {network.title} checkpoint is needed as well")
    return family, _assemble(family, found)


def _assemble(family: str, found: Mapping[_Network, dict[str, Tensor]]) -> VideoModel[Any]:
    model = build_model(preset(family))
    try:
        model.load_state_dict(
            {key: value for each in found.values() for key, value in each.items()}
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UnreadableInput("checkpoint", f"not the published network: {reason}") from error
    return model


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableInput(path, f"no PyTorch checkpoint ({reason})") from error
    for wrapper in ("state_dict", "net"):
        if isinstance(content, dict) and wrapper in content:
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UnreadableInput(path, "no state dict of tensors")
    return {str(key).removeprefix("module."): value.float() for key, value in content.items()}


def _identify(name: object, weights: Mapping[str, Tensor]) -> _Network:
    for network in _NETWORKS:
        if network.mark in weights:
            return network
    titles = ", ".join(network.title for network in _NETWORKS)
    raise UnreadableInput(name, f"not one of the published networks ({titles})")


def _translate(weights: Mapping[str, Tensor], network: _Network) -> dict[str, Tensor]:
    """Return a network's weights under our names."""
    translated: dict[str, Tensor] = {}
    layers: dict[str, dict[str, Tensor]] = {}  # of each parameter of a prior of z
    for key, value in weights.items():
        name = network.prefix + _rename(key, network.rules)
        if match := _Z_PARAMETER.search(name):
            parameter = f"{name[: match.start()]}.{_Z_NAMES[match[2]]}"
            layers.setdefault(parameter, {})[match[1]] = value.flatten(1)
        else:
            translated[name] = network.value(name, value)
    for parameter, of_layers in layers.items():
        translated[parameter] = torch.stack([of_layers[layer] for layer in sorted(of_layers)])
    return translated


def _rename(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
