"""What a model with routes may begin with: the weights of the same model without routes."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import pairwise

import torch
from torch import Tensor, nn

from neuvid.models.dynamic_small import DynamicHybridModel
from neuvid.priors.checkerboard import FOUR_STEPS
from neuvid.training.initialisation import coefficient_places

SAME = (
    "intra.*",
    "picture_adaptor.*",
    "motion.*",
    "embed_prediction.*",
    "context.*",
    "prior.activity.*",
    "prior.bank.*",
    "prior.fusion.*",
    "decoder_bank.*",
    "recon.*",
    "head.*",
)


def beginning(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return all weights that `model` begins with, given those of a checkpoint.

    For a model with routes they may be those of a HybridModel: its widest route then predicts,
    moves and filters as that does, and foresees first laws as that does. Others are as they are.
    """
    if not isinstance(model, DynamicHybridModel) or "prior.laws.0.weight" not in weights:
        return weights
    own = dict(model.state_dict())
    for name in own:
        if any(fnmatchcase(name, pattern) for pattern in SAME) and name in weights:
            own[name] = weights[name]
    places = _places()
    for name in ("prior.encoder_steps.vectors", "prior.decoder_steps.vectors"):
        own[name] = weights[name][:, places]
    return own | _filter(weights, places) | _laws(weights, places, model.prior.channels)


def _places() -> Tensor:
    """Return where the model without routes has each coefficient of the model with routes."""
    from_places, to_places = coefficient_places(len(FOUR_STEPS)), coefficient_places(1)
    place = dict(zip(to_places, from_places, strict=True))
    return torch.tensor([place[number] for number in range(len(place))])


def _filter(weights: dict[str, Tensor], places: Tensor) -> dict[str, Tensor]:
    prefix = "decoder."
    parts = {
        f"decoder.widest.{name.removeprefix(prefix)}": value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
    merging = parts["decoder.widest.0.adaptor.weight"].clone()
    known = merging.shape[1] - len(places)
    merging[:, known:] = merging[:, known + places]
    return parts | {"decoder.widest.0.adaptor.weight": merging}


def _laws(
    weights: dict[str, Tensor], places: Tensor, channels: tuple[int, ...]
) -> dict[str, Tensor]:
    parts = {}
    for number, (first, end) in enumerate(pairwise((0, *channels))):
        rows = torch.cat((places[first:end], len(places) + places[first:end]))
        for kind in ("weight", "bias"):
            for step in range(2):
                law = weights[f"prior.laws.0.{kind}"]
                parts[f"prior.groups.{number}.laws.{step}.{kind}"] = law[rows]
    return parts
