"""Weights with which an untrained model already is a transform codec.

Patches are embedded by a discrete cosine transform, latents are Haar combinations of 2x2
neighbouring blocks, the quantiser steps are those of high-rate theory, and every block begins
near the identity. Inter frames begin as coded differences to the last frame, or to what motion
makes of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuvid.entropy.distributions import SCALE_MIN, FactorisedPrior
from neuvid.lagrangian import INTER_LAMBDAS, INTRA_LAMBDAS, PLANE_WEIGHTS, LambdaRange
from neuvid.models.base import VideoModel
from neuvid.models.block_motion import ANCHORS, POSITION_MAX, MotionCoder
from neuvid.models.dynamic_small import DynamicHybridModel
from neuvid.models.fm_small import HybridModel
from neuvid.models.intra import IntraModel, IntraPrior, LinearPath
from neuvid.models.residual import TRANSFORM_CHANNELS
from neuvid.models.rt import ImplicitModel, ImplicitPrior
from neuvid.nn.blocks import PATCH, DepthConvBlock, StepBank, Up
from neuvid.priors.checkerboard import FOUR_STEPS

BRANCH_GAIN = 0.01  # of the last layer of a residual branch
OUTPUT_GAIN = 0.01  # of the layers that predict means and scales
LUMA_WEIGHT, CHROMA_WEIGHT, _ = (3 * weight for weight in PLANE_WEIGHTS)  # in the distortion
CHROMA_DAMPING = 2.0  # chroma holds about as much detail as luma at twice the frequency
PRIOR_WIDTH = 0.6  # of the logistic law of z, in quantiser steps
INTRA_SPREAD, INTER_SPREAD = 1.5, 0.3  # standard deviations at the lowest frequency
CHANGE_UNITS = (0.06, 0.0125)  # at the lowest and the highest quality, of values in [0, 1]


def initialise(model: VideoModel[Any]) -> None:
    """Set the weights of a small model: one with step banks, of at least 96 channels.

    Raises TypeError for other models.
    """
    with torch.no_grad():
        match model:
            case ImplicitModel():
                _initialise_intra(model.intra)
                _initialise_implicit(model)
            case HybridModel():
                _initialise_intra(model.intra)
                _initialise_hybrid(model)
            case DynamicHybridModel():
                _initialise_intra(model.intra)
                _initialise_dynamic(model)
            case _:
                raise TypeError(f"a {type(model).__name__} has no analytic initialisation")


def _cosine_transform(size: int) -> NDArray[np.float64]:
    """Return the orthonormal transform [frequency, position] of `size` samples."""
    position = np.arange(size) + 0.5
    matrix = np.cos(np.pi * np.arange(size)[:, None] * position / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return np.asarray(matrix)


def _block_transform() -> tuple[Tensor, Tensor]:
    """Return the transform [96, 192] of a patch and its inverse [192, 96]."""
    luma = np.kron(_cosine_transform(PATCH), _cosine_transform(PATCH))
    halve = np.kron(np.eye(PATCH // 2), [[0.5, 0.5]])  # average of two samples
    chroma = np.kron(_cosine_transform(PATCH // 2) @ halve, _cosine_transform(PATCH // 2) @ halve)
    forward = np.zeros((TRANSFORM_CHANNELS, 3 * PATCH * PATCH))
    inverse = np.zeros((3 * PATCH * PATCH, TRANSFORM_CHANNELS))
    rows, columns = [0, 64, 80, 96], [0, 64, 128, 192]
    for plane, matrix in enumerate((luma, chroma, chroma)):
        r, c = slice(rows[plane], rows[plane + 1]), slice(columns[plane], columns[plane + 1])
        forward[r, c] = matrix
        inverse[c, r] = matrix.T * (1 if plane == 0 else 4)  # a chroma sample covers 2x2 pixels
    return torch.tensor(forward).float(), torch.tensor(inverse).float()


def _latent_order(latents: int) -> list[tuple[int, int, int, float, bool]]:
    """Return (channel, row half, column half, frequency, is luma) of the lowest frequencies."""
    candidates = []
    for channel in range(TRANSFORM_CHANNELS):
        is_luma = channel < 64
        side = PATCH if is_luma else PATCH // 2
        v, u = divmod(channel if is_luma else (channel - 64) % 16, side)
        for i in range(2):
            for j in range(2):
                frequency = math.hypot(2 * v + i, 2 * u + j)
                weight = 1.0 if is_luma else CHROMA_DAMPING
                candidates.append((frequency * weight, channel, i, j, is_luma))
    chosen = sorted(candidates)[:latents]
    return [(channel, i, j, frequency, luma) for frequency, channel, i, j, luma in chosen]


IN_ORDER = list(range(TRANSFORM_CHANNELS))  # places of coefficients among features


def _haar(i: int, j: int) -> Tensor:
    """Return the 2x2 Haar filter with `i` and `j` sign changes down and across."""
    rows = torch.tensor([1.0, -1.0 if i else 1.0])
    columns = torch.tensor([1.0, -1.0 if j else 1.0])
    return 0.5 * torch.outer(rows, columns)


def _set_down(conv: nn.Conv2d) -> None:
    """Make a 3x3 stride-2 convolution combine 2x2 blocks."""
    conv.weight.mul_(OUTPUT_GAIN)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    for latent, (channel, i, j, _, _) in enumerate(_latent_order(conv.out_channels)):
        conv.weight[latent, channel, 1:, 1:] += _haar(i, j)


def _set_up(conv: nn.Conv2d, gain: float) -> None:
    """Make the convolution before a pixel shuffle undo `_set_down`, times `gain`."""
    conv.weight.mul_(OUTPUT_GAIN)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    middle = conv.kernel_size[0] // 2
    for latent, (channel, i, j, _, _) in enumerate(_latent_order(conv.in_channels)):
        first = 4 * channel
        taps = conv.weight[first : first + 4, latent, middle, middle]
        taps += gain * _haar(i, j).flatten()


def _set_embedding(conv: nn.Conv2d, places: list[int] = IN_ORDER) -> None:
    """Make a 1x1 convolution transform patches, centred on mid-grey."""
    forward, _ = _block_transform()
    conv.weight[places, :, 0, 0] = forward
    conv.bias.copy_(-0.5 * conv.weight.sum((1, 2, 3)))  # type: ignore[union-attr]


def _set_head(conv: nn.Conv2d, places: list[int] = IN_ORDER) -> None:
    """Make a 1x1 convolution turn coefficients into patches."""
    _, inverse = _block_transform()
    conv.weight.mul_(OUTPUT_GAIN)
    conv.weight[:, places, 0, 0] = inverse
    nn.init.constant_(conv.bias, 0.5)  # type: ignore[arg-type]


def _set_near_identity(network: nn.Module) -> None:
    """Damp the residual branches of every block."""
    for module in network.modules():
        if isinstance(module, DepthConvBlock):
            module.project.weight.mul_(BRANCH_GAIN)
            module.narrow.weight.mul_(BRANCH_GAIN)
            nn.init.zeros_(module.project.bias)  # type: ignore[arg-type]
            nn.init.zeros_(module.narrow.bias)  # type: ignore[arg-type]


def _set_sum(conv: nn.Conv2d, second: float) -> None:
    """Make a 1x1 convolution add its second half of channels, times `second`, to the first."""
    channels = conv.out_channels
    identity = torch.eye(channels)
    conv.weight.mul_(OUTPUT_GAIN)
    conv.weight[:, :, 0, 0] += torch.cat((identity, second * identity), 1)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]


def _set_pass(conv: nn.Conv2d) -> None:
    """Make a convolution pass as many of its first channels on as it can."""
    conv.weight.mul_(OUTPUT_GAIN)
    channels, middle = min(conv.in_channels, conv.out_channels), conv.kernel_size[0] // 2
    conv.weight[:channels, :channels, middle, middle] += torch.eye(channels)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]


def _set_steps(bank: StepBank, lambdas: LambdaRange) -> None:
    """Fill the bank with the steps of high-rate theory: bits fall as distortion grows."""
    rows, latents = bank.vectors.shape
    qualities = torch.arange(rows, dtype=torch.float64)
    for latent, (*_, is_luma) in enumerate(_latent_order(latents)):
        # d(bits)/d(step) = 1 / (64 ln2 step); d(D)/d(step) = weight step / (6 samples).
        samples = 64 if is_luma else 16
        weight = LUMA_WEIGHT if is_luma else CHROMA_WEIGHT
        squared = 6 * samples / (64 * math.log(2) * weight * lambdas.at(qualities))
        bank.vectors[:, latent] = 0.5 * squared.log()


def _set_parameters(conv: nn.Conv2d, row: int, latents: int, spread: float) -> None:
    """Make a 1x1 convolution predict constant scales from a row on, then zero means."""
    conv.weight.mul_(OUTPUT_GAIN)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    for latent, (*_, frequency, is_luma) in enumerate(_latent_order(latents)):
        scale = spread * (1 if is_luma else 0.5) / max(1.0, frequency) ** 1.3
        conv.bias[row + latent] = max(scale, SCALE_MIN * 0.1)  # type: ignore[index]


def _set_inter_parameters(conv: nn.Conv2d, latents: int) -> None:
    """Make a 1x1 convolution predict steps of 1, constant scales and zero means."""
    _set_parameters(conv, latents, latents, INTER_SPREAD)
    conv.weight[:latents] *= OUTPUT_GAIN
    conv.bias[:latents] = 1.0  # type: ignore[index]


def _set_prior(prior: FactorisedPrior) -> None:
    """Make a prior of z about as wide as a few quantiser steps, the same for all qualities."""
    layer_slope = (1 / PRIOR_WIDTH) ** (1 / len(prior.stretch))
    nn.init.constant_(prior.stretch, math.log(math.expm1(layer_slope)))
    nn.init.zeros_(prior.shift)
    nn.init.zeros_(prior.bend)


def _last(network: nn.Module) -> nn.Conv2d:
    layer = network[-1] if isinstance(network, nn.Sequential) else None
    if not isinstance(layer, nn.Conv2d):
        raise TypeError("the last layer is no convolution")
    return layer


def _initialise_intra(model: IntraModel) -> None:
    _set_near_identity(model)
    _set_embedding(_adaptor(model.embed))
    _set_head(_adaptor(model.head))
    down, up = _last(model.encoder), model.decoder[0]
    if not isinstance(up, Up):
        raise TypeError("the decoder does not begin with more resolution")
    if model.linear_path is None:
        _set_down(down)
        _set_up(up.up.spread, 0.5)  # the block's shortcut doubles what passes
    else:
        for conv in (down, up.up.spread):
            conv.weight.mul_(OUTPUT_GAIN)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        _set_linear_path(model.linear_path)
    _initialise_intra_prior(model.prior)


def _set_linear_path(path: LinearPath) -> None:
    """Make it an orthonormal transform of what is not mid-grey."""
    forward, inverse = _block_transform()
    analysis, synthesis = path.analysis, path.synthesis.spread
    order = _latent_order(analysis.out_channels)
    filters = torch.stack([_haar(i, j) for _, i, j, _, _ in order])  # [C, 2, 2]
    channels = [channel for channel, *_ in order]
    analysis.weight.copy_(torch.einsum("cp,cij->cpij", forward[channels], filters))
    analysis.bias.copy_(-0.5 * analysis.weight.sum((1, 2, 3)))  # type: ignore[union-attr]
    spread = torch.einsum("pc,cij->pijc", inverse[:, channels], filters).flatten(0, 2)
    synthesis.weight.copy_(spread[..., None, None])
    nn.init.zeros_(synthesis.bias)  # type: ignore[arg-type]


def _initialise_intra_prior(prior: IntraPrior) -> None:
    latents = _last(prior.spatial).out_channels // 2
    if prior.step_bank is None:
        raise TypeError("the analytic initialisation needs a step bank")
    _set_prior(prior.hyperprior.prior)
    _set_steps(prior.step_bank, INTRA_LAMBDAS)
    fusion = _last(prior.fusion)
    _set_parameters(fusion, 2, latents, INTRA_SPREAD)
    fusion.weight[:2] = 0.0
    fusion.bias[:2] = -math.log(2)  # type: ignore[index]  # a step of 1
    _set_parameters(_last(prior.spatial), 0, latents, INTRA_SPREAD)


def _initialise_implicit(model: ImplicitModel) -> None:
    for name, network in model.named_children():
        if name != "intra":
            _set_near_identity(network)
    _set_embedding(_adaptor(model.picture_adaptor))
    _set_embedding(model.embed)
    for conv in (model.feature_adaptor, _last(model.decoder)):
        conv.weight[:, :, 0, 0] = torch.eye(conv.out_channels)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    _set_sum(_adaptor(model.encoder[0]), -1.0)
    _set_down(model.down)
    if model.up.narrow is not None:
        _set_pass(model.up.narrow)
    _set_up(model.up.spread, 1.0)
    _set_sum(_adaptor(model.decoder[0]), 1.0)
    _set_head(model.head)
    _initialise_implicit_prior(model.prior)


def _initialise_implicit_prior(prior: ImplicitPrior) -> None:
    latents = _last(prior.spatial).out_channels // 2
    if prior.step_bank is None:
        raise TypeError("the analytic initialisation needs a step bank")
    _set_prior(prior.hyperprior.prior)
    _set_steps(prior.step_bank, INTER_LAMBDAS)
    _set_inter_parameters(_last(prior.fusion), latents)
    _set_parameters(_last(prior.spatial), 0, latents, INTER_SPREAD)


def _initialise_residual(model: HybridModel | DynamicHybridModel, places: list[int]) -> None:
    """Set all but the laws and the filter of a model whose coefficients have `places`."""
    for name, network in model.named_children():
        if name not in ("intra", "agent"):
            _set_near_identity(network)
    for conv in (model.picture_adaptor, model.embed_prediction):
        _set_embedding(conv)
    for merging in (model.context[0], model.prior.fusion[0]):
        _set_pass(_adaptor(merging))
    _set_embedding(model.analysis, places)
    _set_head(model.synthesis, places)
    nn.init.zeros_(model.head.weight)
    for conv in (model.analysis, model.synthesis, model.head):  # zero in the mean
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    for bank in (model.prior.encoder_steps, model.prior.decoder_steps):
        _set_block_steps(bank, places, model.inter_lambdas)
    _initialise_motion(model.motion)


def _initialise_hybrid(model: HybridModel) -> None:
    places = coefficient_places(len(FOUR_STEPS))
    _initialise_residual(model, places)
    for merging in (model.decoder.get_submodule("0"), *model.prior.adaptors):
        _set_pass(_adaptor(merging))
    for law in model.prior.laws:
        _set_block_laws(law, places, first=0)


def _initialise_dynamic(model: DynamicHybridModel) -> None:
    places = coefficient_places(1)
    _initialise_residual(model, places)
    _set_pass(_adaptor(model.decoder.get_submodule("widest.0")))
    prior = model.prior
    for number, first in enumerate((0, *prior.channels[:-1])):
        group = prior.groups.get_submodule(str(number))
        _set_pass(_adaptor(group.get_submodule("adaptor")))
        if first:
            _set_pass(_adaptor(group.get_submodule("modulation")))
        for law in group.get_submodule("laws").children():
            _set_block_laws(law, places, first=first)


def coefficient_places(groups: int) -> list[int]:
    """Return the place of each coefficient among groups that all hold low and high frequencies.

    Within a group they rise in frequency.
    """
    order = sorted(range(TRANSFORM_CHANNELS), key=_frequency)
    place = {
        c: n % groups * (TRANSFORM_CHANNELS // groups) + n // groups for n, c in enumerate(order)
    }
    return [place[channel] for channel in range(TRANSFORM_CHANNELS)]


def _frequency(channel: int) -> float:
    """Return the frequency of a coefficient, in half periods of 8 pixels."""
    is_luma = channel < 64
    side = PATCH if is_luma else PATCH // 2
    v, u = divmod(channel if is_luma else (channel - 64) % 16, side)
    return math.hypot(v, u) * (1.0 if is_luma else CHROMA_DAMPING)


def _set_block_steps(bank: StepBank, places: list[int], lambdas: LambdaRange) -> None:
    """Fill a bank with the steps of high-rate theory, those of luma and of chroma."""
    rows = bank.vectors.shape[0]
    qualities = POSITION_MAX * torch.linspace(0, 1, rows, dtype=torch.float64)
    for channel, place in enumerate(places):
        # d(bits)/d(step) = 1 / (64 ln2 step); d(D)/d(step) = weight step / (6 samples).
        samples, weight = (64, LUMA_WEIGHT) if channel < 64 else (16, CHROMA_WEIGHT)
        squared = 6 * samples / (64 * math.log(2) * weight * lambdas.at(qualities))
        bank.vectors[:, place] = 0.5 * squared.log()


def _set_block_laws(conv: nn.Module, places: list[int], *, first: int) -> None:
    """Make a 1x1 convolution predict roots of scales that fall with frequency, and zero means.

    Its first output is for the coefficient at the place `first`.
    """
    if not isinstance(conv, nn.Conv2d):
        raise TypeError("the network of laws is no convolution")
    conv.weight.mul_(OUTPUT_GAIN)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    for channel, place in enumerate(places):
        if first <= place < first + conv.out_channels // 2:
            scale = INTER_SPREAD / max(1.0, _frequency(channel)) ** 0.5
            conv.bias[place - first] = math.sqrt(max(scale, SCALE_MIN))  # type: ignore[index]


def _initialise_motion(motion: MotionCoder) -> None:
    """Make activity the change in units of what quantisation leaves."""
    for law in (motion.first_activity, _last(motion.second_activity)):
        law.weight.mul_(OUTPUT_GAIN)
        law.bias.copy_(torch.tensor((1.0,) * 2 + (0.0,) * 2))  # type: ignore[union-attr]
    motion.inform.weight.mul_(OUTPUT_GAIN)
    nn.init.zeros_(motion.inform.bias)  # type: ignore[arg-type]
    coarsest, finest = CHANGE_UNITS
    rows = torch.linspace(0, 1, ANCHORS)[:, None]
    motion.change_units.vectors.copy_(math.log(coarsest) + rows * math.log(finest / coarsest))


def _adaptor(block: nn.Module) -> nn.Conv2d:
    if not isinstance(block, DepthConvBlock) or block.adaptor is None:
        raise TypeError("the block has no adaptor")
    return block.adaptor
