"""Laws of evaluating rate control: numbers are those of files, and nothing is done twice."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import moving_clip
from conftest import FAMILIES, save_untrained

from neuvid.cli.main import main
from neuvid.evaluation.rates import RateRun, cost, summarise

FRAMES = 16
RUN = RateRun(
    codec="ours",
    clip="a",
    setting="constant rate",
    frame_rate=10.0,
    targets=[100.0] * 40,
    bits=[110.0] * 20 + [100.0] * 20,
)


def test_errors_are_those_of_the_bits() -> None:
    assert RUN.bits_per_second == pytest.approx(1050)
    assert RUN.error() == pytest.approx(0.05)
    assert RUN.error(0, 20) == pytest.approx(0.1)
    assert RUN.error_after_step() is None
    step = replace(RUN, targets=[200.0] * 5 + [110.0] * 15 + [100.0] * 20, bits=[110.0] * 40)
    assert step.error_after_step() == pytest.approx(0.1)


def test_violations_are_counted_frame_by_frame() -> None:
    assert replace(RUN, bits=[1001.0, *[0.0] * 39]).violations() == 1
    assert replace(RUN, bits=[1000.0, *[100.0] * 39]).violations() == 0
    assert replace(RUN, bits=[1000.0, 101.0, *[100.0] * 38]).violations() == 39


def test_cost_is_at_equal_psnr() -> None:
    constant = [
        replace(RUN, targets=[], bits=[bits] * 40, psnr=30 + 5 * np.log2(bits / 100))
        for bits in (50.0, 100.0, 200.0)
    ]
    assert cost(replace(RUN, bits=[100.0] * 40, psnr=30.0), constant) == pytest.approx(0)
    assert cost(replace(RUN, bits=[110.0] * 40, psnr=30.0), constant) == pytest.approx(0.1)
    worse = 30 - 5 * np.log2(1.02)
    assert cost(replace(RUN, bits=[100.0] * 40, psnr=worse), constant) == pytest.approx(0.02)
    summary = summarise([*constant, replace(RUN, psnr=30.0)])[0]
    assert summary.error == pytest.approx(0.05) and summary.runs == 1
    assert summary.cost == pytest.approx(0.05)


def evaluate(clip: Path, folder: Path) -> dict[str, Any]:
    output = folder / "rates.html"
    arguments = ["eval-rate", str(clip), "--qualities", "24,40", "--frames", str(FRAMES)]
    assert main([*arguments, "-o", str(output), "--cache", str(folder / "cache")]) == 0
    assert b"plotly" in output.read_bytes()
    numbers = json.loads(output.with_suffix(".json").read_text())
    assert isinstance(numbers, dict)
    return numbers


def test_an_evaluation_runs_every_codec_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = moving_clip(tmp_path / "moving.mp4", (96, 64), FRAMES + 4, Fraction(8))
    numbers = evaluate(clip, tmp_path)
    runs = [RateRun(**run) for run in numbers["runs"]]
    constant = [run for run in runs if not run.targets]
    targets = {run.targets[0] for run in runs if run.targets and run.setting == "constant rate"}
    means = [float(np.mean(run.bits)) for run in constant]
    assert sorted(targets) == pytest.approx(sorted(means))
    assert all(len(run.bits) == FRAMES for run in runs)
    codecs = {summary["codec"]: summary for summary in numbers["summaries"]}
    assert len(codecs) == 7 and codecs["neuvid"]["runs"] == 2
    assert codecs["neuvid within a buffer"]["violations"] == 0
    assert codecs["neuvid"]["cost"] is not None
    kept = sorted(file.stat().st_mtime_ns for file in (tmp_path / "cache").glob("*.json"))
    assert len(kept) == len(runs)
    again = evaluate(clip, tmp_path)
    assert again == numbers
    assert kept == sorted(file.stat().st_mtime_ns for file in (tmp_path / "cache").glob("*.json"))
    assert "| mean error |" in capsys.readouterr().out


def test_an_agent_is_held_to_what_it_foresees(tmp_path: Path) -> None:
    weights = save_untrained(tmp_path / "tiny.safetensors", FAMILIES["dynamic"], seed=1)
    clip = moving_clip(tmp_path / "moving.mp4", (96, 64), 6, Fraction(8))
    output, model = tmp_path / "rates.html", ["--model", str(weights), "--qualities", "24"]
    chosen = ["--controller", "agent", "--cache", str(tmp_path / "cache")]
    assert main(["eval-rate", str(clip), *model, *chosen, "-o", str(output)]) == 0
    numbers = json.loads(output.with_suffix(".json").read_text())
    runs = [RateRun(**run) for run in numbers["runs"]]
    ours = {run.codec: run for run in runs if run.psnr is not None}
    assert ours.keys() == {"neuvid", "DynamicDVC, agent"}  # the first at a constant quality
    assert ours["neuvid"].foresight_error is None
    assert (ours["DynamicDVC, agent"].foresight_error or 0) > 0


def test_an_agent_needs_a_model_that_has_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(moving_clip(tmp_path / "moving.mp4", (32, 32), 2))
    model = ["--model", "rt-small", "--controller", "agent"]
    assert main(["eval-rate", clip, *model, "-o", str(tmp_path / "r.html")]) == 2
    target = tmp_path / "x.nvid"
    assert main(["encode", clip, str(target), *model, "--bitrate", "9k"]) == 2
    assert capsys.readouterr().err.count("rate control agent") == 2
    assert not target.exists()
    assert main(["encode", clip, str(target), *model, "--quality", "9"]) == 2
    assert "controller" in capsys.readouterr().err


@pytest.mark.parametrize("qualities", ["", "3,x", "64"])
def test_qualities_are_checked(
    qualities: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = moving_clip(tmp_path / "moving.mp4", (32, 32), 2)
    arguments = ["eval-rate", str(clip), "--qualities", qualities, "-o", str(tmp_path / "r.html")]
    assert main([*arguments, "--cache", str(tmp_path)]) == 2
    assert "qualit" in capsys.readouterr().err
