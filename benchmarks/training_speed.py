"""Speed and memory of training here: native layers in a process on each core, next to PyTorch.

    python benchmarks/training_speed.py training-set [--losses | --optimisers]

They train the longest stage of each small recipe from the shipped weights, in turn, and the
median of their turns is printed, and the most memory that all processes of a run ever had, what
several share counted once (Linux only). The plain path is PyTorch in one process with a thread on
each core; threads wait passively, as they do under `neuvid train`, or they spin, which is faster
only where nothing else runs. With --losses, the still pictures are trained for 500 steps with
three seeds, and the losses of the averaged weights on the validation clips are printed instead;
with --optimisers, from the start, for 1000 steps by the native way with SOAP and with AdamW alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
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
LOSS_STEPS, OPTIMISER_STEPS, SEEDS = 500, 1000, (1, 2, 3)
POLL_SECONDS = 0.5
WEIGHTS = Path(neuvid.__file__).parent / "weights"


class Way(NamedTuple):
    """How to train: by which kernels, in how many processes, how threads wait, and from where."""

    name: str
    kernels: str
    processes: int
    waiting: str = "PASSIVE"
    soap: bool = True
    from_start: bool = False


PLAIN = Way("plain", "none", 1)
SPINNING = Way("spinning", "none", 1, "ACTIVE")
NATIVE = Way("native", (LEVELS or ["none"])[-1], cores())
SOAP = NATIVE._replace(name="SOAP", from_start=True)
ADAMW = SOAP._replace(name="AdamW", soap=False)


class Run(NamedTuple):
    """What one run tells."""

    steps_per_second: float
    loss: float
    megabytes: float  # of memory, at the most


def megabytes(pid: int) -> float:
    """Return the memory of a process and of those that it started."""
    process = Path(f"/proc/{pid}")
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
        children = [file.read_text().split() for file in process.glob("task/*/children")]
    except OSError:  # it has ended
        return 0.0
    own = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000
    return own + sum(megabytes(int(child)) for each in children for child in each)


def run_here(name: str, data: Path, out: Path, steps: int, seed: int, way: Way) -> None:
    """Train the longest stage of a recipe from the shipped weights, or from the start."""
    recipe = find_recipe(name)
    stage = max(recipe.stages, key=lambda each: each.steps)
    if not way.from_start:
        stage = replace(stage, warm_up_steps=0)
    options = TrainingOptions(
        steps=steps,
        weights=None if way.from_start else WEIGHTS / f"{recipe.model}.safetensors",
        seed=seed,
        log_steps=WARM_UP,
        validation_steps=steps,
    )
    recipe = replace(recipe, stages=(stage,), soap=way.soap)
    train(recipe, data, out, options, processes=way.processes)


def run(name: str, way: Way, data: Path, *, steps: int = STEPS, seed: int = 1) -> Run:
    """Train in new processes, which find the kernels that they may use in the environment."""
    environment = os.environ | {
        "NEUVID_TRAINING_KERNELS": way.kernels,
        "OMP_WAIT_POLICY": way.waiting,
    }
    with tempfile.TemporaryDirectory() as out:
        given = (name, str(data), out, str(steps), str(seed), json.dumps(way))
        command = [sys.executable, __file__, "--one", *given]
        most = 0.0
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                most = max(most, megabytes(process.pid))
                time.sleep(POLL_SECONDS)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        lines = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    speeds = [line["steps_per_second"] for line in lines if line["group"] == "train"]
    losses = [line["loss"] for line in lines if line["group"] == "validation"]
    return Run(median(speeds[1:]), losses[-1], most)


def compare_speed(data: Path) -> None:
    """Print steps per second of all ways, how many times as fast the native one is, and memory."""
    for name in RECIPES:
        runs: dict[Way, list[Run]] = {PLAIN: [], SPINNING: [], NATIVE: []}
        for _ in range(TURNS):
            for way, done in runs.items():
                done.append(run(name, way, data))
        plain, spinning, native = (
            median(each.steps_per_second for each in done) for done in runs.values()
        )
        print(f"{name}: plain {plain:.2f}, spinning {spinning:.2f}, native {native:.2f} steps/s:")
        print(f"    {native / plain:.2f} and {native / spinning:.2f} times")
        plain, _, native = (median(each.megabytes for each in done) for done in runs.values())
        print(f"    plain {plain:.0f} MB, native {native:.0f} MB", flush=True)


def compare_losses(ways: Iterable[Way], data: Path, steps: int) -> None:
    """Print the losses of still pictures that were trained in several ways for the same steps."""
    for way in ways:
        losses = [run(RECIPES[0], way, data, steps=steps, seed=seed).loss for seed in SEEDS]
        each = ", ".join(f"{loss:.4f}" for loss in losses)
        print(f"{way.name}: {mean(losses):.4f} +- {stdev(losses):.4f} ({each})", flush=True)


def main(
    data: Annotated[Path, typer.Argument(help="Training set, made by `neuvid data prepare`.")],
    losses: Annotated[bool, typer.Option("--losses", help="Compare losses.")] = False,
    optimisers: Annotated[bool, typer.Option("--optimisers", help="Compare optimisers.")] = False,
) -> None:
    """Compare the two ways to train."""
    print(f"{cores()} cores; native: {NATIVE.kernels}, {NATIVE.processes} processes")
    if losses:
        compare_losses((PLAIN, NATIVE), data, LOSS_STEPS)
    elif optimisers:
        compare_losses((SOAP, ADAMW), data, OPTIMISER_STEPS)
    else:
        compare_speed(data)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        recipe_name, data_path, out_path, steps_given, seed_given, way_given = sys.argv[2:]
        chosen = Way(*json.loads(way_given))
        folders = Path(data_path), Path(out_path)
        run_here(recipe_name, *folders, int(steps_given), int(seed_given), chosen)
    else:
        typer.run(main)
