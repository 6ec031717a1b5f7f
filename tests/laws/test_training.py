from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from disks import file_size_limit
from torch import Tensor

from neuvid.errors import InvalidSetting, NeuvidError, UnreadableInput, UnwritableOutput
from neuvid.models.agent import AgentConfig
from neuvid.models.base import ModelConfig
from neuvid.models.checkpoint import STILLS, read_weights, ship_checkpoint
from neuvid.models.dynamic_small import DynamicHybridConfig
from neuvid.models.fm_small import HybridConfig
from neuvid.models.intra import IntraConfig
from neuvid.models.rt import ImplicitConfig
from neuvid.training import trainer as trainer_module
from neuvid.training.foresight import ForesightChain
from neuvid.training.joint_routes import DivergenceSearch, JointRoutes
from neuvid.training.losses import Objective
from neuvid.training.runs import (
    BEST_FILE,
    CHECKPOINT_FILE,
    LAST_FILE,
    RunFolder,
)
from neuvid.training.stages import Recipe, Stage
from neuvid.training.trainer import Trainer, TrainingOptions

TINY = ImplicitConfig(
    intra=IntraConfig(
        trunk_channels=16,
        latent_channels=16,
        hyper_channels=8,
        hyper_feature_channels=8,
        prior_channels=16,
        common_channels=8,
        encoder_blocks=1,
        decoder_blocks=1,
        fusion_blocks=1,
        spatial_blocks=1,
    ),
    feature_channels=16,
    latent_channels=16,
    hyper_channels=8,
    temporal_channels=8,
    spatial_channels=16,
    recon_channels=16,
    extractor_blocks=(1, 1),
    encoder_blocks=1,
    fusion_blocks=1,
    spatial_blocks=1,
    decoder_blocks=1,
    recon_blocks=1,
)
TINY_HYBRID = HybridConfig(
    intra=TINY.intra,
    feature_channels=16,
    activity_channels=8,
    prior_channels=32,
    motion_channels=8,
    context_blocks=1,
    decoder_blocks=1,
)
TINY_DYNAMIC = DynamicHybridConfig(
    intra=TINY.intra,
    agent=AgentConfig(channels=(4, 6)),
    feature_channels=16,
    route_channels=(8, 10, 12, 16),
    activity_channels=8,
    prior_channels=8,
    motion_channels=8,
    context_blocks=1,
    decoder_blocks=1,
)
CONFIGS = pytest.mark.parametrize(
    "config", [TINY, TINY_HYBRID, TINY_DYNAMIC], ids=["implicit", "hybrid", "dynamic"]
)
IMAGE = Stage(
    name="image",
    steps=4,
    learning_rate=1e-3,
    clip_frames=1,
    crop=64,
    batch=2,
    train=("intra.*",),
    warm_up_steps=2,
    final_fraction=0.1,
)
PAIRS = replace(IMAGE, name="pairs", clip_frames=2, train=("*", "!intra.*"), photo_share=0.5)
CHAIN = replace(PAIRS, name="chain", clip_frames=4, detach_every=2, recompute=True)
RECIPE = Recipe(
    name="tiny",
    model="tiny",
    config=TINY,
    stages=(IMAGE, PAIRS, CHAIN),
    initialise=False,
    objective=Objective(rgb_share=0.1),
    validation_frames=3,
    validation_crop=64,
)
OPTIONS = TrainingOptions(threads=1, log_steps=2, validation_steps=5)


def run(recipe: Recipe, data: Path, out: Path, **options: object) -> dict[str, Tensor]:
    """Train and return the averaged weights."""
    Trainer(recipe, data, out, replace(OPTIONS, **options)).train()  # type: ignore[arg-type]
    return read_weights(out / LAST_FILE)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@CONFIGS
def test_an_interrupted_run_ends_with_the_same_weights(
    config: ModelConfig, training_set: Path, tmp_path: Path
) -> None:
    joint = JointRoutes(first_step=5, period=2) if config is TINY_DYNAMIC else None
    recipe = replace(RECIPE, config=config, joint_routes=joint)
    whole = run(recipe, training_set, tmp_path / "whole")
    for steps in (4, 6, None):  # at the end of a stage, within one, to the end
        parts = run(recipe, training_set, tmp_path / "parts", steps=steps)
    assert same(parts, whole)
    if joint:
        assert whole["ladder"].tolist() != [63.0] * 4
    log = (tmp_path / "parts" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log if '"train"' in line] == [2, 4, 6, 8, 10, 12]


def test_a_killed_run_ends_with_the_same_weights(training_set: Path, tmp_path: Path) -> None:
    script = f"""
import sys
sys.path[:0] = {[str(folder) for folder in Path(__file__).parents[:2]]!r}
import test_training as tests
tests.trainer_module.CHECKPOINT_SECONDS = 0.0
long = tests.replace(tests.PAIRS, steps=100000)
recipe = tests.replace(tests.RECIPE, stages=(tests.IMAGE, long))
tests.run(recipe, tests.Path({str(training_set)!r}), tests.Path({str(tmp_path / "killed")!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.split()[0] == "10":
            break
    process.kill()
    process.communicate()
    checkpoint = torch.load(tmp_path / "killed" / CHECKPOINT_FILE, weights_only=True)
    last = checkpoint["step"] + 2
    recipe = replace(RECIPE, stages=(IMAGE, replace(PAIRS, steps=100000)))
    resumed = run(recipe, training_set, tmp_path / "killed", steps=last)
    assert same(resumed, run(recipe, training_set, tmp_path / "whole", steps=last))


def test_sigterm_saves_and_ends_the_run(training_set: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=(replace(IMAGE, steps=10**6),))
    before = signal.getsignal(signal.SIGTERM)
    log = tmp_path / "log.jsonl"

    def stop_when_it_runs() -> None:
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_it_runs, daemon=True).start()
    run(recipe, training_set, tmp_path)
    checkpoint = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)
    assert 0 < checkpoint["step"] < 10**6
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_with_a_deadline_is_validated_and_saved_by_then(
    training_set: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, stages=(replace(IMAGE, steps=10**6),))
    deadline = time.monotonic() + 6
    run(recipe, training_set, tmp_path, deadline=deadline)
    assert time.monotonic() < deadline
    step = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["step"]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert 0 < step < 10**6
    assert [entry["step"] for entry in log if entry["group"] == "validation"][-1] == step


def test_the_loss_falls(training_set: Path, tmp_path: Path) -> None:
    stage = replace(IMAGE, steps=40, learning_rate=5e-3, batch=4)
    recipe = replace(RECIPE, stages=(stage,), validation_frames=1)
    run(recipe, training_set, tmp_path, log_steps=10, validation_steps=1000)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [entry["loss"] for entry in log if entry["group"] == "train"]
    assert losses[-1] < 0.5 * losses[0]


@CONFIGS
def test_video_stages_leave_the_image_model_alone(
    config: ModelConfig, training_set: Path, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, config=config)
    run(replace(recipe, stages=(IMAGE,)), training_set, tmp_path / "image")
    image = tmp_path / "image" / BEST_FILE
    ship_checkpoint(image, tmp_path)
    video = replace(recipe, stages=(PAIRS, replace(CHAIN, true_first_frame=True)))
    after = run(video, training_set, tmp_path / "video", intra_weights=tmp_path / STILLS)
    before = read_weights(image)
    intra = [name for name in before if name.startswith("intra.")]
    assert all(torch.equal(before[name], after[name]) for name in intra)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed and not set(changed) & set(intra)


def test_steps_that_are_not_finite_are_skipped_until_they_are_many(
    training_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, stages=(IMAGE,), objective=Objective(rgb_share=float("nan")))
    untrained = Trainer(recipe, training_set, tmp_path / "other", OPTIONS).model.state_dict()
    before = {name: value.half().float() for name, value in untrained.items()}  # as exported
    after = run(recipe, training_set, tmp_path / "run")
    assert same(before, after)
    assert torch.load(tmp_path / "run" / CHECKPOINT_FILE, weights_only=True)["skipped"] == 4
    monkeypatch.setattr(trainer_module, "SKIPPED_MAX", 3)
    with pytest.raises(NeuvidError, match="diverged"):
        run(recipe, training_set, tmp_path / "diverged")


def test_a_checkpoint_of_another_run_is_refused(training_set: Path, tmp_path: Path) -> None:
    run(RECIPE, training_set, tmp_path, steps=5)
    others = {
        "recipe": replace(RECIPE, name="other"),
        "config": replace(RECIPE, config=replace(TINY, recon_channels=24)),
        "stages begun": replace(RECIPE, stages=(IMAGE, replace(PAIRS, steps=9), CHAIN)),
    }
    for field, recipe in others.items():
        with pytest.raises(InvalidSetting, match=field):
            run(recipe, training_set, tmp_path)
    with pytest.raises(InvalidSetting, match="seed"):
        run(RECIPE, training_set, tmp_path, seed=2)
    longer = replace(RECIPE, stages=(IMAGE, PAIRS, replace(CHAIN, steps=6)))
    run(longer, training_set, tmp_path, steps=6)  # what is to come may change


def test_impossible_runs_are_refused_before_the_first_step(
    training_set: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnreadableInput):
        run(RECIPE, tmp_path, tmp_path / "out")
    with pytest.raises(InvalidSetting, match="crop"):
        large = replace(PAIRS, crop=256)
        run(replace(RECIPE, stages=(IMAGE, large)), training_set, tmp_path / "out")
    with pytest.raises(InvalidSetting, match="image"):
        run(replace(RECIPE, stages=(PAIRS,)), training_set, tmp_path / "out")
    (tmp_path / "file").write_text("no weights")
    with pytest.raises(UnreadableInput, match="file"):
        run(RECIPE, training_set, tmp_path / "out", weights=tmp_path / "file")
    with pytest.raises(UnwritableOutput):
        run(RECIPE, training_set, tmp_path / "file")
    with pytest.raises(InvalidSetting, match="train"):
        nothing = replace(IMAGE, train=("nothing.*",))
        run(replace(RECIPE, stages=(nothing,)), training_set, tmp_path / "none")
    (tmp_path / "out" / CHECKPOINT_FILE).write_bytes(b"damaged")
    with pytest.raises(UnreadableInput, match="not a checkpoint"):
        run(RECIPE, training_set, tmp_path / "out")
    torch.save({"step": 0}, tmp_path / "out" / CHECKPOINT_FILE)
    with pytest.raises(UnreadableInput, match="another version"):
        run(RECIPE, training_set, tmp_path / "out")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save_checkpoint({"old": torch.zeros(2)})
    for size in (2, 10**6):
        with pytest.raises(UnwritableOutput, match="File too large"), file_size_limit(500):
            run.save_checkpoint({"new": torch.zeros(size)})
    content = run.load_checkpoint()
    assert content is not None and "old" in content and "new" not in content


DIVERGING = (20.0, 32.0, 44.0)  # qualities from which narrow routes cost more


def rate_and_distortion(route: int, quality: float) -> tuple[float, float]:
    """A curve that all routes share up to a quality, beyond which narrow ones waste bits."""
    rate = 2 ** (quality / 10)
    waste = 0.0 if route == 3 else max(quality - DIVERGING[route], 0.0)
    return rate * (1 + 0.01 * waste), rate**-0.5 * (1 + 0.01 * waste)


def test_qualities_fall_until_the_curves_of_the_routes_meet() -> None:
    search = DivergenceSearch(4, fall=2.0)
    before: tuple[float, ...] = ()
    ladder: tuple[float, ...] = (63.0,) * 4
    while ladder != before:
        before, ladder = ladder, search.advance(ladder, rate_and_distortion)
    assert ladder[3] == 63.0 and ladder == tuple(sorted(ladder))
    for quality, diverging in zip(ladder, DIVERGING, strict=False):
        assert abs(quality - diverging) < 8


def test_an_agent_learns_to_foresee_and_leaves_the_codec_alone(
    training_set: Path, tmp_path: Path
) -> None:
    codec = replace(RECIPE, config=TINY_DYNAMIC, stages=(IMAGE,), validation_frames=2)
    run(codec, training_set, tmp_path / "codec")
    stage = replace(PAIRS, steps=60, batch=4, learning_rate=3e-2, train=("agent.*",))
    agent = replace(codec, name="agent", stages=(stage,), chain=ForesightChain)
    weights = tmp_path / "codec" / LAST_FILE
    options = {"weights": weights, "log_steps": 10, "validation_steps": 100}
    after = run(agent, training_set, tmp_path / "agent", **options)
    lines = (tmp_path / "agent" / "log.jsonl").read_text().splitlines()
    log = [json.loads(line) for line in lines]
    losses = [entry["loss"] for entry in log if entry["group"] == "train"]
    assert losses[-1] < 0.7 * losses[0]
    before = read_weights(weights)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("agent.") for name in changed)
