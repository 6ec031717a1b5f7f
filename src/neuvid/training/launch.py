"""Starts the processes of a run from one command, and ends them together."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist

from neuvid.errors import NeuvidError
from neuvid.training.processes import STOP_SIGNALS, Processes, SharedMemory, cores, on_stop
from neuvid.training.stages import Recipe
from neuvid.training.trainer import Trainer, TrainingOptions

SHARED_MEMORY = Path("/dev/shm")
SHARED_BYTES = 1 << 30  # must be free there; else a temporary file is mapped
ORPHAN_SECONDS = 60.0  # in which a process must end when the command has ended

Task = Callable[[Processes], None]


def train(
    recipe: Recipe, data: Path, out: Path, options: TrainingOptions, *, processes: int = 0
) -> None:
    """Train a recipe as `Trainer` does, by several processes that share each batch.

    `processes` 0 means one for each GPU, or without GPUs one for each CPU thread. Where that does
    not divide all batches of the recipe, it is the largest smaller number that does. Under
    torchrun the processes are those that it started.
    """
    task = partial(_train, recipe, data, out, options)
    if dist.is_torchelastic_launched():
        _join_torchrun(task)
        return
    gpus = torch.cuda.device_count()
    wanted = processes or gpus or options.threads or cores()
    batches = math.gcd(*(stage.batch for stage in recipe.stages))
    count = largest_divisor(batches, min(wanted, gpus) if gpus else wanted)
    if count == 1:
        task(Processes.alone())
    else:
        run_together(task, count)


def _train(
    recipe: Recipe, data: Path, out: Path, options: TrainingOptions, processes: Processes
) -> None:
    Trainer(recipe, data, out, options, processes).train()


def largest_divisor(number: int, most: int) -> int:
    """Return the largest divisor of a number that is `most` or less."""
    return max(divisor for divisor in range(1, most + 1) if number % divisor == 0)


def _join_torchrun(task: Task) -> None:
    rank, world_size, local_rank, local_size = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    place = Processes.joined(
        rank, world_size, meeting="env://", local_rank=local_rank, local_size=local_size
    )
    with place as processes:
        task(processes)


def run_together(task: Task, count: int) -> None:
    """Run a task that can be pickled in `count` new processes of this machine.

    SIGTERM and SIGINT are passed to all of them. When one fails or dies, the others are killed,
    and what it raised is raised here: NeuvidError, or RuntimeError with its traceback as a note.
    """
    context = multiprocessing.get_context("forkserver")  # they share what is imported, in memory
    context.set_forkserver_preload([__name__])
    barrier = context.Barrier(count)
    children: list[_Child] = []

    def stop() -> None:
        for child in children:
            child.process.terminate()

    with TemporaryDirectory(dir=_shared_folder()) as folder:
        try:
            with on_stop(stop):
                with _signals_held_back():
                    for rank in range(count):
                        receiver, sender = context.Pipe(duplex=False)
                        shared = SharedMemory(Path(folder), barrier, rank, count)
                        process = context.Process(target=_work, args=(task, shared, sender))
                        process.start()
                        children.append(_Child(f"process {rank} of {count}", process, receiver))
                _wait(children)
        finally:
            for child in children:
                child.process.kill()
                child.process.join()


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let stop signals wait; in processes started here, until `stop_signals` can heed them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _shared_folder() -> Path | None:
    has_room = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > SHARED_BYTES
    return SHARED_MEMORY if has_room else None


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a process says before it ends with exit code 1."""

    is_ours: bool  # a NeuvidError, or the like
    reason: str
    details: str


@dataclass(frozen=True, slots=True, eq=False)
class _Child:
    name: str
    process: ForkServerProcess
    failure: connection.Connection

    def error(self) -> tuple[int, Exception]:
        """Return why a process ended, after a number: causes have lower ones than consequences."""
        code = self.process.exitcode or 0
        if code < 0:
            reason = f"{self.name} was ended by {signal.Signals(-code).name}"
            return 0, NeuvidError(f"{reason}; perhaps memory ran out" if code == -9 else reason)
        if not self.failure.poll():
            return 1, NeuvidError(f"{self.name} ended with exit code {code}")
        said: _Failure = self.failure.recv()
        if said.is_ours:
            return 1, NeuvidError(said.reason)
        error = RuntimeError(f"{self.name}: {said.reason}")
        error.add_note(said.details)
        return 2, error


def _wait(children: list[_Child]) -> None:
    """Return when all have ended; raise the error of the first that fails."""
    running = list(children)
    while running:
        ready = connection.wait([child.process.sentinel for child in running])
        ended = [child for child in running if child.process.sentinel in ready]
        running = [child for child in running if child not in ended]
        for child in ended:
            child.process.join()
        errors = [child.error() for child in ended if child.process.exitcode]
        if errors:
            raise min(errors, key=lambda error: error[0])[1]


def _work(task: Task, shared: SharedMemory, failure: connection.Connection) -> None:
    """Run a task in one of the new processes."""
    threading.Thread(target=_end_with_parent, args=(shared.folder,), daemon=True).start()
    place = Processes.joined(
        shared.rank,
        shared.world_size,
        meeting=f"file://{shared.folder}/meeting",
        local_rank=shared.rank,
        local_size=shared.world_size,
        shared=shared,
    )
    try:
        with place as processes:
            task(processes)
    except BaseException as error:
        is_ours = isinstance(error, NeuvidError | OSError)
        reason = str(error) or type(error).__name__
        failure.send(_Failure(is_ours, reason, traceback.format_exc()))
        raise SystemExit(1) from None


def _end_with_parent(folder: Path) -> None:
    """Stop this process, as SIGTERM does, when the command that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)
