"""Several processes of one run: they average, stop together, and fail together."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from test_training import CHAIN, IMAGE, OPTIONS, RECIPE, run, same

from neuvid.errors import NeuvidError
from neuvid.models.checkpoint import read_weights
from neuvid.training.launch import largest_divisor, run_together
from neuvid.training.processes import Processes
from neuvid.training.runs import CHECKPOINT_FILE, LAST_FILE
from neuvid.training.trainer import Trainer

ENDLESS = replace(RECIPE, stages=(replace(IMAGE, steps=10**6),))
SCRIPT = """
import sys
sys.path[:0] = {folders!r}
from pathlib import Path
from test_processes import ENDLESS, OPTIONS
from neuvid.training.launch import train
if __name__ == "__main__":
    train(ENDLESS, Path({data!r}), Path({out!r}), OPTIONS, processes=2)
"""


def average(processes: Processes) -> None:
    shapes = [(3,), (), (2, 4, 3, 3), (0,), (5, 7)]
    for seed in range(3):
        random = [torch.Generator().manual_seed(10 * seed + rank) for rank in range(3)]
        values = [[torch.randn(shape, generator=each) for shape in shapes] for each in random]
        for each in values:
            each[2] = each[2].contiguous(memory_format=torch.channels_last)
        means = [torch.stack(parts).mean(0) for parts in zip(*values, strict=True)]
        weights = [torch.zeros_like(value) for value in values[processes.rank]]
        for weight, value in zip(weights, values[processes.rank], strict=True):
            weight.grad = value
        shares = [weights[:2], [torch.zeros(2)], weights[2:]]  # of which one has no gradient
        norm = processes.average(shares)
        torch.testing.assert_close(norm, torch.cat([mean.flatten() for mean in means]).norm())
        for weight, mean in zip(weights, means, strict=True):
            if any(weight is own for own in shares[processes.rank]):
                torch.testing.assert_close(weight.grad, mean)
    rank = torch.tensor(float(processes.rank))
    assert processes.total(rank) == 3.0 and rank == processes.rank
    assert processes.of_first(processes.is_first)
    assert not processes.of_first(not processes.is_first)


def test_processes_average_and_agree() -> None:
    run_together(average, 3)


def fail(processes: Processes, *, how: str) -> None:
    if processes.rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise NeuvidError("the disk is full") if how == "expected" else ValueError("a mistake")
    while True:
        processes.average([[torch.ones(3)], []])


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("killed", NeuvidError, "^process 1 of 2 was ended by SIGKILL"),
        ("expected", NeuvidError, "^the disk is full$"),
        ("unexpected", RuntimeError, "^process 1 of 2: a mistake"),
    ],
)
def test_one_process_that_fails_ends_all(how: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        run_together(partial(fail, how=how), 2)


SHORT = replace(RECIPE, soap=True, stages=(IMAGE, replace(CHAIN, steps=3)))


def go_on(processes: Processes, *, data: Path, whole: Path, parts: Path) -> None:
    for out, steps in ((whole, None), (parts, 5), (parts, None)):
        Trainer(SHORT, data, out, replace(OPTIONS, steps=steps), processes).train()


def test_two_processes_go_on_exactly_and_before_and_after_one(
    training_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(SHORT, training_set, whole, steps=3)
    shutil.copytree(whole, parts)
    run_together(partial(go_on, data=training_set, whole=whole, parts=parts), 2)
    assert same(read_weights(whole / LAST_FILE), read_weights(parts / LAST_FILE))
    capsys.readouterr()
    longer = replace(SHORT, stages=(*SHORT.stages, replace(IMAGE, name="more", steps=1)))
    run(longer, training_set, whole)
    assert "processes 1 instead of 2" in capsys.readouterr().out


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_all_processes_stop_and_save_once(
    training_set: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    out = tmp_path / "run"
    folders = [str(folder) for folder in Path(__file__).parents[:2]]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folders=folders, data=str(training_set), out=str(out)))
    command = [sys.executable, str(script)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0, text=True
    )
    log = out / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.05)
    if sent is signal.SIGTERM:
        process.send_signal(sent)
    else:  # as a terminal does, to all processes
        os.killpg(process.pid, sent)
    _, errors = process.communicate()  # until no process holds the pipe any more
    assert (process.returncode, errors) == (0, "")
    checkpoint = torch.load(out / CHECKPOINT_FILE, weights_only=True)
    assert 0 < checkpoint["step"] < 10**6
    assert checkpoint["machine"]["processes"] == "2"
    intra = {name for name in checkpoint["averaged"] if name.startswith("intra.")}
    assert checkpoint["optimiser states"].keys() == intra  # of both processes


def test_batches_are_split_evenly() -> None:
    for batch in range(1, 20):
        for most in range(1, 20):
            count = largest_divisor(batch, most)
            assert count <= most and batch % count == 0
            assert all(batch % larger for larger in range(count + 1, most + 1))


def test_training_needs_neither_av_nor_tensorboard(training_set: Path, tmp_path: Path) -> None:
    code = f"""
import pickle, sys
from pathlib import Path
for name in ("av", "lightning_fabric", "tensorboard"):
    sys.modules[name] = None
import neuvid.cli.train
from neuvid.training.trainer import Trainer
recipe, options = pickle.loads(sys.stdin.buffer.read())
Trainer(recipe, Path({str(training_set)!r}), Path({str(tmp_path)!r}), options).train()
"""

    given = pickle.dumps((RECIPE, replace(OPTIONS, steps=5)))
    subprocess.run([sys.executable, "-c", code], input=given, check=True)
    assert (tmp_path / LAST_FILE).exists()
    assert not (tmp_path / "tensorboard").exists()


def test_waiting_threads_are_passive_before_pytorch_is_loaded() -> None:
    code = (
        "import os, sys, neuvid.cli; "
        "sys.exit(os.environ['OMP_WAIT_POLICY'] != 'PASSIVE' or 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
