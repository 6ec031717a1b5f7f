"""Speed of training on this machine: native layers in a process on each core, next to PyTorch.

    python benchmarks/training_speed.py training-set [--losses]

They train the longest stage of each small recipe from the shipped weights, in turn, and the
median of their turns is printed. The plain path is PyTorch in one process with a thread on each
core; threads wait passively, as they do under `neuvid train`, or they spin, which is faster only
where nothing else runs. With --losses, the still pictures are trained for 500 steps with three
seeds, and the losses of the averaged weights on the validation clips are printed instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean, median, stdev
from typing import Annotated, NamedTuple

import typer

import neuvid
from neuvid.kernels import LEVELS
from neuvid.training.launch import train
from neuvid.training.processes import cores
from neuvid.training.recipes import find_recipe
from neuvid.training.trainer import TrainingOptions

RECIPES = ("rt-small-image", "rt-small-video", "fm-small-video")
STEPS, WARM_UP, TURNS = 60, 20, 3
LOSS_STEPS, SEEDS = 500, (1, 2, 3)
WEIGHTS = Path(neuvid.__file__).parent / "weights"


class Way(NamedTuple):
    """How to train: by which kernels, in how many processes, and how threads wait."""

    name: str
    kernels: str
    processes: int
    waiting: str = "PASSIVE"


PLAIN = Way("plain", "none", 1)
SPINNING = Way("spinning", "none", 1, "ACTIVE")
NATIVE = Way("native", (LEVELS or ["none"])[-1], cores())


class Run(NamedTuple):
    """What one run tells."""

    steps_per_second: float
    loss: float


def run_here(name: str, data: Path, out: Path, steps: int, seed: int, processes: int) -> None:
    """Train the longest stage of a recipe from the shipped weights."""
    recipe = find_recipe(name)
    stage = replace(max(recipe.stages, key=lambda each: each.steps), warm_up_steps=0)
    options = TrainingOptions(
        steps=steps,
        weights=WEIGHTS / f"{recipe.model}.safetensors",
        seed=seed,
        log_steps=WARM_UP,
        validation_steps=steps,
    )
    train(replace(recipe, stages=(stage,)), data, out, options, processes=processes)


def run(name: str, way: Way, data: Path, *, steps: int = STEPS, seed: int = 1) -> Run:
    """Train in new processes, which find the kernels that they may use in the environment."""
    environment = os.environ | {
        "NEUVID_TRAINING_KERNELS": way.kernels,
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    with tempfile.TemporaryDirectory() as out:
        numbers = (str(number) for number in (steps, seed, way.processes))
        command = [sys.executable, __file__, "--one", name, str(data), out, *numbers]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    speeds = [line["steps_per_second"] for line in lines if line["group"] == "train"]
    losses = [line["loss"] for line in lines if line["group"] == "validation"]
    return Run(median(speeds[1:]), losses[-1])


def compare_speed(data: Path) -> None:
    """Print steps per second of all ways, and how many times as fast the native one is."""
    for name in RECIPES:
        speeds: dict[Way, list[float]] = {PLAIN: [], SPINNING: [], NATIVE: []}
        for _ in range(TURNS):
            for way, values in speeds.items():
                values.append(run(name, way, data).steps_per_second)
        plain, spinning, native = (median(values) for values in speeds.values())
        print(f"{name}: plain {plain:.2f}, spinning {spinning:.2f}, native {native:.2f} steps/s:")
        print(f"    {native / plain:.2f} and {native / spinning:.2f} times", flush=True)


def compare_losses(data: Path) -> None:
    """Print the losses of both ways after the same steps."""
    for way in (PLAIN, NATIVE):
        losses = [run(RECIPES[0], way, data, steps=LOSS_STEPS, seed=seed).loss for seed in SEEDS]
        each = ", ".join(f"{loss:.4f}" for loss in losses)
        print(f"{way.name}: {mean(losses):.4f} +- {stdev(losses):.4f} ({each})")


def main(
    data: Annotated[Path, typer.Argument(help="Training set, made by `neuvid data prepare`.")],
    losses: Annotated[bool, typer.Option("--losses", help="Compare losses.")] = False,
) -> None:
    """Compare the two ways to train."""
    print(f"{cores()} cores; native: {NATIVE.kernels}, {NATIVE.processes} processes")
    compare_losses(data) if losses else compare_speed(data)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        recipe_name, data_path, out_path, *numbers = sys.argv[2:]
        run_here(recipe_name, Path(data_path), Path(out_path), *map(int, numbers))
    else:
        typer.run(main)
