"""Reads the checkpoints that the papers' authors published: their key names into ours."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from neuvid.errors import UnreadableInput
from neuvid.models.implicit import ImplicitModel
from neuvid.models.presets import RT

Rules = tuple[tuple[str, str], ...]

# Inside blocks, whatever network they belong to.
_BLOCK_RULES: Rules = (
    (r"\bup\.conv\.0\.", "up.spread."),
    (r"\bconv\.(?=(dc|ffn)\.)", "block."),
    (r"\bdc\.0\.", "expand."),
    (r"\bdc\.2\.", "depthwise."),
    (r"\bdc\.3\.", "project."),
    (r"\bffn\.0\.", "widen."),
    (r"\bffn\.2\.", "narrow."),
)

_RT_IMAGE_RULES: Rules = (
    (r"^enc\.enc_1\.", "embed."),
    (r"^enc\.enc_2\.", "encoder."),
    (r"^hyper_enc\.", "prior.hyperprior.encoder."),
    (r"^hyper_dec\.", "prior.hyperprior.decoder."),
    (r"^y_prior_fusion\.", "prior.fusion."),
    (r"^y_spatial_prior_reduction\.", "prior.reduction."),
    (r"^y_spatial_prior_adaptor_1\.", "prior.adaptors.0."),
    (r"^y_spatial_prior_adaptor_2\.", "prior.adaptors.1."),
    (r"^y_spatial_prior_adaptor_3\.", "prior.adaptors.2."),
    (r"^y_spatial_prior\.", "prior.spatial."),
    (r"^dec\.dec_1\.", "decoder."),
    (r"^dec\.dec_2\.", "head."),
    (r"^q_scale_enc$", "encoder_bank.vectors"),
    (r"^q_scale_dec$", "decoder_bank.vectors"),
)

_RT_VIDEO_RULES: Rules = (
    (r"^feature_adaptor_i\.", "picture_adaptor."),
    (r"^feature_adaptor_p\.", "feature_adaptor."),
    (r"^feature_extractor\.conv1\.", "extractor."),
    (r"^feature_extractor\.conv2\.", "context_extractor."),
    (r"^encoder\.conv1\.", "embed."),
    (r"^encoder\.conv2\.", "encoder."),
    (r"^encoder\.conv3\.", "encoder.2."),
    (r"^encoder\.down\.", "down."),
    (r"^hyper_encoder\.conv\.", "prior.hyperprior.encoder."),
    (r"^hyper_decoder\.conv\.", "prior.hyperprior.decoder."),
    (r"^temporal_prior_encoder\.", "prior.temporal."),
    (r"^y_prior_fusion\.conv\.", "prior.fusion."),
    (r"^y_spatial_prior\.conv\.", "prior.spatial."),
    (r"^decoder\.up\.conv\.0\.", "up.spread."),
    (r"^decoder\.conv1\.", "decoder."),
    (r"^decoder\.conv2\.", "decoder.3."),
    (r"^recon_generation_net\.conv\.", "recon."),
    (r"^recon_generation_net\.head\.", "head."),
    (r"^q_encoder$", "encoder_bank.vectors"),
    (r"^q_decoder$", "decoder_bank.vectors"),
    (r"^q_feature$", "prior.temporal_bank.vectors"),
    (r"^q_recon$", "recon_bank.vectors"),
)

_Z_PRIOR = re.compile(r"^bit_estimator_z\.f([1-4])\.([hba])$")
_Z_PARAMETERS = {"h": "stretch", "b": "shift", "a": "bend"}
_Z_MODULE = "prior.hyperprior.prior."

# Our blocks use silu(x) where theirs use silu(4 x) / 4.
_ACTIVATION_GAIN = 4.0
_BEFORE_ACTIVATION = (".expand.weight", ".expand.bias", ".widen.weight", ".widen.bias")
_AFTER_ACTIVATION = (".depthwise.weight", ".narrow.weight")


@dataclass(frozen=True, slots=True)
class _Network:
    title: str
    rules: Rules
    mark: str  # a key that only this network has


_RT_IMAGE = _Network("DCVC-RT image", _RT_IMAGE_RULES, "q_scale_enc")
_RT_VIDEO = _Network("DCVC-RT video", _RT_VIDEO_RULES, "q_recon")


def read_published(paths: list[Path]) -> ImplicitModel:
    """Return the model of an image and a video checkpoint, given in any order.

    Raises UnreadableInput when a file is no published checkpoint or one of the two is missing.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for path in paths:
        network, weights = _identify(path, _read(path))
        if network.title in found:
            raise UnreadableInput(path, f"a second {network.title} checkpoint")
        try:
            found[network.title] = _translate(weights, network)
        except (IndexError, RuntimeError) as error:
            reason = f"not the published {network.title} network ({error})"
            raise UnreadableInput(path, reason) from error
    missing = {_RT_IMAGE.title, _RT_VIDEO.title} - found.keys()
    if missing:
        raise UnreadableInput(paths[0], f"the {missing.pop()} checkpoint is needed as well")
    return rt_model(found[_RT_IMAGE.title], found[_RT_VIDEO.title])


def rt_model(image: Mapping[str, Tensor], video: Mapping[str, Tensor]) -> ImplicitModel:
    """Return an `rt` model with the translated weights of both networks."""
    model = ImplicitModel(RT)
    weights = {f"intra.{key}": value for key, value in image.items()} | dict(video)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise UnreadableInput("checkpoint", f"not the published network: {reason}") from error
    return model


def translate_image(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the published image network's weights under our names."""
    return _translate(weights, _RT_IMAGE)


def translate_video(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the published video network's weights under our names."""
    return _translate(weights, _RT_VIDEO)


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


def _identify(path: Path, weights: dict[str, Tensor]) -> tuple[_Network, dict[str, Tensor]]:
    for network in (_RT_IMAGE, _RT_VIDEO):
        if network.mark in weights:
            return network, weights
    raise UnreadableInput(path, "not one of the published networks (DCVC-RT image or video)")


def _translate(weights: Mapping[str, Tensor], network: _Network) -> dict[str, Tensor]:
    translated: dict[str, Tensor] = {}
    z_prior: dict[str, dict[int, Tensor]] = {name: {} for name in _Z_PARAMETERS.values()}
    for key, value in weights.items():
        if match := _Z_PRIOR.match(key):
            layer = int(match[1]) - 1
            z_prior[_Z_PARAMETERS[match[2]]][layer] = value.flatten(1)
            continue
        name = _rename(key, network.rules + _BLOCK_RULES)
        translated[name] = _rescale(name, value)
    for parameter, layers in z_prior.items():
        stacked = [layers[layer] for layer in sorted(layers)]
        if stacked:
            translated[_Z_MODULE + parameter] = torch.stack(stacked)
    return translated


def _rename(key: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _rescale(name: str, value: Tensor) -> Tensor:
    if name.endswith("_bank.vectors"):
        return value.flatten(1)
    if name.endswith(_BEFORE_ACTIVATION):
        return value * _ACTIVATION_GAIN
    if name.endswith(_AFTER_ACTIVATION):
        return value / _ACTIVATION_GAIN
    return value
