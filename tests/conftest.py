"""Synthetic footage and small models that many tests share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from synthetic import pan, texture, write_video

from neuvid.models.base import ModelConfig
from neuvid.models.checkpoint import LoadedModel, load_model, save_model
from neuvid.models.presets import DYNAMIC_SMALL, FM_SMALL, INTRA_SMALL, RT_SMALL, build_model
from neuvid.training.initialisation import initialise
from neuvid.training.preparation import prepare

TINY_INTRA = replace(
    INTRA_SMALL,
    trunk_channels=96,
    latent_channels=64,
    hyper_channels=8,
    hyper_feature_channels=32,
    prior_channels=64,
    common_channels=48,
    encoder_blocks=3,
    decoder_blocks=1,
    latent_blocks=0,
    linear_path=False,
)
TINY_LINEAR_INTRA = replace(TINY_INTRA, latent_channels=96, latent_blocks=1, linear_path=True)
TINY_IMPLICIT = replace(
    RT_SMALL,
    intra=TINY_INTRA,
    feature_channels=96,
    latent_channels=32,
    hyper_channels=8,
    temporal_channels=32,
    spatial_channels=48,
    recon_channels=96,
    extractor_blocks=(1, 1),
    encoder_blocks=1,
    decoder_blocks=1,
)
TINY_HYBRID = replace(
    FM_SMALL,
    intra=TINY_LINEAR_INTRA,
    feature_channels=96,
    activity_channels=8,
    prior_channels=32,
    motion_channels=16,
    context_blocks=1,
    decoder_blocks=1,
)
TINY_DYNAMIC = replace(
    DYNAMIC_SMALL,
    intra=TINY_LINEAR_INTRA,
    feature_channels=96,
    route_channels=(32, 48, 64, 96),
    activity_channels=8,
    prior_channels=32,
    motion_channels=16,
    context_blocks=1,
    decoder_blocks=1,
)
FAMILIES: dict[str, ModelConfig] = {
    "implicit": TINY_IMPLICIT,
    "hybrid": TINY_HYBRID,
    "dynamic": TINY_DYNAMIC,
}


def save_untrained(path: Path, config: ModelConfig, seed: int) -> Path:
    """Write the checkpoint of a tiny model that works as a transform codec."""
    torch.manual_seed(seed)
    network = build_model(config)
    initialise(network)
    save_model(path, "tiny", network, {})
    return path


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Return the name of a family: laws hold for each of them."""
    return str(request.param)


@pytest.fixture(scope="session")
def checkpoint(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a tiny model."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return save_untrained(path, FAMILIES[family], seed=1)


@pytest.fixture(scope="session")
def other_checkpoint(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of the same shape with other weights."""
    path = tmp_path_factory.mktemp("weights") / "other.safetensors"
    return save_untrained(path, FAMILIES[family], seed=2)


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> LoadedModel:
    """Return the tiny model."""
    return load_model(checkpoint)


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three videos, a Vimeo-90k sequence and three photographs."""
    folder = tmp_path_factory.mktemp("footage")
    for seed in range(3):
        write_video(folder / f"pan{seed}.mp4", pan(seed, 12, 2))
    sequence = folder / "sequences" / "00001" / "0001"
    sequence.mkdir(parents=True)
    for number, picture in enumerate(pan(10, 7, 1), start=1):
        cv2.imwrite(str(sequence / f"im{number}.png"), picture)
    for seed in range(20, 23):
        cv2.imwrite(str(folder / f"photo{seed}.png"), texture(seed, 160, 200))
    return folder


@pytest.fixture(scope="session")
def training_set(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the training set made of `footage`."""
    out = tmp_path_factory.mktemp("training-set")
    prepare([footage], out, height=288)
    return out
