"""Synthetic footage for the tests of training."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from synthetic import pan, texture, write_video

from neuvid.training.preparation import prepare


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
