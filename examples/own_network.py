"""A network of one's own: fm-small with one more filter, which alone is trained.

neuvid data prepare VIDEOS --out data
python examples/own_network.py start.safetensors
neuvid train examples/own_network.py:RECIPE --data data --out run --init start.safetensors
python examples/own_network.py run/best.safetensors IN.mp4 OUT.nvid
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

import neuvid
from neuvid.entropy.coder import LatentCoder
from neuvid.models.checkpoint import read_weights, save_model, shipped_weights
from neuvid.models.fm_small import HybridConfig, HybridModel
from neuvid.models.intra import PATCH_VALUES
from neuvid.models.presets import INTRA_SMALL, build_model
from neuvid.models.residual import ResidualState
from neuvid.nn.blocks import DepthConvBlock, SignalPointwise, patchify, unpatchify
from neuvid.training.recipes import FM_SMALL_VIDEO_RECIPE


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteredConfig(HybridConfig):
    """The config of fm-small, and how wide the filter is."""

    filter_channels: int = 48


class FilteredModel(HybridModel):
    """Filters each inter frame before it is shown and others refer to it."""

    def __init__(self, config: FilteredConfig) -> None:
        super().__init__(config)
        width = config.filter_channels
        self.filter = nn.Sequential(
            DepthConvBlock(PATCH_VALUES, width), SignalPointwise(width, PATCH_VALUES)
        )
        for parameter in self.filter[1].parameters():  # so that it begins by changing nothing
            nn.init.zeros_(parameter)

    def code_frame(
        self,
        frame: Tensor | None,
        state: ResidualState,
        choice: neuvid.FrameChoice,
        coder: LatentCoder,
    ) -> ResidualState:
        """Code one frame as fm-small does, then filter the picture."""
        state = super().code_frame(frame, state, choice, coder)
        if choice.kind is neuvid.FrameKind.INTRA:
            return state
        patches = patchify(self.render(state))
        picture = unpatchify(patches + self.filter(patches))
        return replace(state, picture=picture.clamp(0.0, 1.0))


neuvid.register_family("filtered", FilteredConfig, FilteredModel)

CONFIG = FilteredConfig(intra=INTRA_SMALL)
RECIPE = replace(
    FM_SMALL_VIDEO_RECIPE,
    name="filter",
    model="filtered",
    config=CONFIG,
    stages=(
        replace(
            FM_SMALL_VIDEO_RECIPE.stages[0],
            name="the filter alone",
            steps=2000,
            crop=64,
            batch=2,
            train=("filter.*",),
            final_fraction=0.02,
        ),
    ),
    validation_frames=3,
    validation_crop=64,
)


def save_start(path: Path) -> None:
    """Write the weights of fm-small and of a filter that changes nothing."""
    shipped = shipped_weights("fm-small")
    assert shipped is not None
    torch.manual_seed(1)
    network = build_model(CONFIG)
    network.load_state_dict(read_weights(shipped), strict=False)
    save_model(path, RECIPE.model, network, notes={})


def encode(checkpoint: Path, source: Path, stream: Path) -> None:
    """Encode a clip with a trained checkpoint; decode it by `neuvid.read(..., model=...)`."""
    with neuvid.open_clip(source) as clip:
        model, quality = neuvid.load_model(checkpoint), neuvid.FixedQuality(40)
        neuvid.encode_clip(clip, stream, model=model, control=quality)


if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[1:]]
    if len(paths) == 1:
        save_start(*paths)
    else:
        encode(*paths)
