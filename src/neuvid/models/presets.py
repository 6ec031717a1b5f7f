"""Every codec that neuvid knows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from neuvid.errors import InvalidSetting
from neuvid.models.agent import AgentConfig
from neuvid.models.base import ModelConfig, VideoModel
from neuvid.models.dynamic import DynamicConfig, DynamicModel
from neuvid.models.dynamic_small import DynamicHybridConfig, DynamicHybridModel
from neuvid.models.fm import MotionConfig, MotionModel
from neuvid.models.fm_small import HybridConfig, HybridModel
from neuvid.models.intra import IntraConfig
from neuvid.models.rt import ImplicitConfig, ImplicitModel

DEFAULT_MODEL = "fm-small"  # the preset with weights that compresses most

RT = ImplicitConfig()

# Twice the multiplications of RT, by more channels and blocks of the same kind (appendix C.9).
RT_LARGE = replace(
    RT,
    feature_channels=352,
    temporal_channels=352,
    spatial_channels=448,
    recon_channels=488,
    extractor_blocks=(2, 5),
)

# The still-picture model that all small presets share.
INTRA_SMALL = IntraConfig(
    trunk_channels=224,
    latent_channels=384,
    hyper_channels=48,
    hyper_feature_channels=64,
    prior_channels=256,
    common_channels=192,
    encoder_blocks=4,
    decoder_blocks=3,
    fusion_blocks=1,
    spatial_blocks=1,
    latent_blocks=1,
    step_bank=True,
    linear_path=True,
)

RT_SMALL = ImplicitConfig(
    intra=INTRA_SMALL,
    feature_channels=128,
    latent_channels=128,
    hyper_channels=48,
    temporal_channels=80,
    spatial_channels=128,
    recon_channels=128,
    extractor_blocks=(1, 2),
    encoder_blocks=2,
    fusion_blocks=1,
    spatial_blocks=1,
    decoder_blocks=2,
    recon_blocks=1,
    up_channels=192,
    step_bank=True,
)

FM = MotionConfig()
FM_SMALL = HybridConfig(intra=INTRA_SMALL)

DYNAMIC = DynamicConfig()
DYNAMIC_SMALL = DynamicHybridConfig(intra=INTRA_SMALL, agent=AgentConfig(channels=(8, 16, 32)))

PRESETS: dict[str, ModelConfig] = {
    "rt": RT,
    "rt-large": RT_LARGE,
    "rt-small": RT_SMALL,
    "fm": FM,
    "fm-small": FM_SMALL,
    "dynamic": DYNAMIC,
    "dynamic-small": DYNAMIC_SMALL,
}


@dataclass(frozen=True, slots=True)
class Family:
    """A network architecture: `model` makes one of a config."""

    config: type[ModelConfig]
    model: Callable[[Any], VideoModel[Any]]


FAMILIES = {
    "rt": Family(ImplicitConfig, ImplicitModel),
    "fm": Family(MotionConfig, MotionModel),
    "fm-small": Family(HybridConfig, HybridModel),
    "dynamic": Family(DynamicConfig, DynamicModel),
    "dynamic-small": Family(DynamicHybridConfig, DynamicHybridModel),
}


def register_family(
    name: str, config: type[ModelConfig], model: Callable[[Any], VideoModel[Any]]
) -> None:
    """Let models of a family of one's own be trained and loaded; `model` makes one of a config.

    Checkpoints tell their family by its name. Raises InvalidSetting where another family has it.
    """
    if name in FAMILIES:
        expected = "a name that no other family has: " + ", ".join(FAMILIES)
        raise InvalidSetting("family", got=name, expected=expected)
    FAMILIES[name] = Family(config, model)


def family_name(config: ModelConfig) -> str:
    """Return the name of the config's family; raise InvalidSetting where it is not registered."""
    for name, family in FAMILIES.items():
        if type(config) is family.config:
            return name
    expected = "that of a family, which one of your own is once it is registered"
    raise InvalidSetting("config", got=type(config).__name__, expected=expected)


def build_model(config: ModelConfig) -> VideoModel[Any]:
    """Return a model of the config's family with untrained weights; raise as `family_name`."""
    model = FAMILIES[family_name(config)].model(config)
    model.assign_rows()
    return model


def preset(name: str) -> ModelConfig:
    """Return the config of a preset; raise InvalidSetting when there is none of that name."""
    if name not in PRESETS:
        raise InvalidSetting("model", got=name, expected=", ".join(PRESETS))
    return PRESETS[name]
