"""Training on a GPU: it learns, goes on across devices, and does not wait where it need not."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neuvid.models.presets import RT_SMALL
from neuvid.nn.blocks import DepthConvBlock
from neuvid.training.compilation import COMPILED, choose, speed_up
from neuvid.training.data import BatchShape, TrainingSet, to_frames
from neuvid.training.items import INDEX_FILE, INDEX_VERSION, PLANES_FILE, Item
from neuvid.training.losses import Objective
from neuvid.training.processes import Processes
from neuvid.training.runs import CHECKPOINT_FILE
from neuvid.training.stages import Recipe, Stage
from neuvid.training.trainer import Trainer, TrainingOptions

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SIDE, FRAMES = 128, 6
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
IMAGE = Stage(
    name="image",
    steps=40,
    learning_rate=5e-4,
    clip_frames=1,
    crop=64,
    batch=4,
    train=("intra.*",),
)
CHAIN = replace(IMAGE, name="chain", clip_frames=4, detach_every=2, train=("*", "!intra.*"))
RECIPE = Recipe(
    name="gpu",
    model="rt-small",
    config=RT_SMALL,
    stages=(IMAGE, CHAIN),
    initialise=True,
    objective=Objective(rgb_share=0.1),
    validation_frames=3,
    validation_crop=64,
)
OPTIONS = TrainingOptions(log_steps=1000, validation_steps=1000)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a training set of smooth random clips, of which one is for validation."""
    folder = tmp_path_factory.mktemp("training-set")
    items, planes = [], b""
    for seed, split in enumerate(("train", "train", "validation")):
        item = Item(
            source=f"{seed}",
            split=split,  # type: ignore[arg-type]
            is_photo=False,
            offset=len(planes),
            frames=FRAMES,
            width=SIDE,
            height=SIDE,
        )
        noise = np.random.default_rng(seed).standard_normal(FRAMES * item.frame_bytes + 64)
        smooth = np.convolve(noise, np.ones(65) / 8, "valid")
        planes += np.clip(128 + 40 * smooth, 0, 255).astype(np.uint8).tobytes()
        items.append(item)
    (folder / PLANES_FILE).write_bytes(planes)
    index = {
        "version": INDEX_VERSION,
        "bytes": len(planes),
        "items": [asdict(item) for item in items],
    }
    (folder / INDEX_FILE).write_text(json.dumps(index))
    return folder


def train(data: Path, out: Path, device: torch.device, steps: int) -> None:
    options = replace(OPTIONS, steps=steps)
    Trainer(RECIPE, data, out, options, Processes(device=device)).train()


def test_frames_are_those_of_the_cpu(data: Path) -> None:
    shape = BatchShape(size=3, frames=4, crop=64, photo_share=0.0)
    planes = TrainingSet(data, "train", seed=1).sampler(shape).planes(5)
    torch.testing.assert_close(to_frames(planes, GPU).cpu(), to_frames(planes, CPU))


def test_a_run_goes_on_on_another_device(data: Path, tmp_path: Path) -> None:
    for device, steps in ((CPU, 2), (GPU, 41), (CPU, 42), (GPU, 43)):
        train(data, tmp_path, device, steps)
        checkpoint = torch.load(tmp_path / CHECKPOINT_FILE, map_location="cpu", weights_only=True)
        assert checkpoint["step"] == steps
        assert checkpoint["skipped"] == 0
        assert checkpoint["machine"]["device"] == device.type


def test_steps_do_not_wait_for_the_gpu(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "warm", GPU, 45)  # whatever is done once
    waits = []
    for steps in (42, 50):  # of the second stage, 2 and 10
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                train(data, tmp_path / f"{steps}", GPU, steps)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits.append({f"{each.filename}:{each.lineno}" for each in caught})
        waits[-1] |= {f"{len(caught)} waits in all"}
    assert waits[0] == waits[1]


def test_compiled_blocks_compute_the_same() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(DepthConvBlock(32, 48), DepthConvBlock(48, 48), DepthConvBlock(48, 48))
    model = model.to(GPU, memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = copy.deepcopy(model)
    maps = torch.randn(2, 32, 24, 32, device=GPU)

    def work() -> None:
        model.zero_grad()
        model(maps).square().mean().backward()

    assert COMPILED not in speed_up(model, work).failures
    torch.testing.assert_close(model(maps), before(maps), rtol=1e-3, atol=1e-3)


def test_choosing_waits_for_the_gpu() -> None:
    """A way that only queues more work is not the faster one."""
    maps = torch.randn(2048, 2048, device=GPU)

    def much() -> None:
        for _ in range(50):
            maps @ maps

    assert choose({"much": much, "little": lambda: maps @ maps}).name == "little"
