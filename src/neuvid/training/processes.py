"""The processes of a run: what each computes with, and how they average numbers."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import FrameType
from typing import Self

import torch
import torch.distributed as dist
from torch import Tensor

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """One process of a run, seen from inside, and what it shares with the others.

    `local_size` of the `world_size` processes are on this machine. `shared` averages through
    memory, where all of them are on one machine without GPUs.
    """

    rank: int = 0
    world_size: int = 1
    local_size: int = 1
    device: torch.device
    shared: SharedMean | None = None

    @classmethod
    def alone(cls) -> Self:
        """Return the only process of a run."""
        return cls(device=_device(0))

    @classmethod
    @contextmanager
    def joined(
        cls,
        rank: int,
        world_size: int,
        *,
        meeting: str,
        local_rank: int,
        local_size: int,
        shared: SharedMean | None = None,
    ) -> Iterator[Self]:
        """Meet the other processes at a URL of torch.distributed; leave them at the end."""
        device = _device(local_rank)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=world_size)
        try:
            yield cls(
                rank=rank,
                world_size=world_size,
                local_size=local_size,
                device=device,
                shared=shared if device.type == "cpu" else None,
            )
        finally:
            dist.destroy_process_group()

    @property
    def is_first(self) -> bool:
        """Whether this process logs and saves for all."""
        return self.rank == 0

    @property
    def precision(self) -> torch.dtype:
        """The type in which products are computed."""
        if self.device.type == "cuda":
            has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            has_bfloat16 = torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float32

    def autocast(self) -> AbstractContextManager[None]:
        """Compute in mixed precision, where the device has it."""
        enabled = self.precision is torch.bfloat16
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their means over all processes.

        All processes give tensors of the same shapes in the same order.
        """
        if self.world_size == 1 or not tensors:
            return
        if self.shared is not None:
            self.shared.average(tensors)
            return
        flat = _flat(tensors)
        dist.all_reduce(flat)
        _copy(flat.div_(self.world_size), tensors)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all processes."""
        total = values.clone()
        if self.world_size > 1:
            dist.all_reduce(total)
        return total

    def of_first(self, value: bool) -> bool:
        """Return what the first process gives; waits on the CPU alone."""
        if self.world_size == 1:
            return value
        flag = torch.tensor(value)
        dist.broadcast(flag, 0)
        return bool(flag)

    def wait_for_first(self) -> None:
        """Return when the first process has called this, too."""
        self.of_first(True)


class SharedMean:
    """Averages tensors through files that the processes of one machine map into memory.

    Each process writes its values to a row, sums a part of all rows, and reads the whole sum from
    the last row: half the time of sending them through sockets.
    """

    def __init__(self, folder: Path, barrier: Barrier, rank: int, world_size: int) -> None:
        self.folder = folder
        self.barrier = barrier
        self.rank = rank
        self.world_size = world_size
        self._rows: dict[int, Tensor] = {}  # [world_size + 1, values] by the number of values

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all processes."""
        count = sum(tensor.numel() for tensor in tensors)
        rows = self._rows_of(count)
        torch.cat([tensor.flatten() for tensor in tensors], out=rows[self.rank])
        bounds = [count * rank // self.world_size for rank in range(self.world_size + 1)]
        own = slice(bounds[self.rank], bounds[self.rank + 1])
        self.barrier.wait()
        total = rows[-1, own]
        torch.add(rows[0, own], rows[1, own], out=total)
        for row in rows[2:-1]:
            total.add_(row[own])
        total.div_(self.world_size)
        self.barrier.wait()
        _copy(rows[-1], tensors)

    def _rows_of(self, count: int) -> Tensor:
        if count not in self._rows:
            file = str(self.folder / f"{count}.float32")
            size = (self.world_size + 1) * count
            values = torch.from_file(file, shared=True, size=size, dtype=torch.float32)
            self._rows[count] = values.view(self.world_size + 1, count)
        return self._rows[count]


def _device(local_rank: int) -> torch.device:
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _copy(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    views = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
    torch._foreach_copy_(list(tensors), views)


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_memory() -> None:
    """Keep memory that is free for the next step, where the C library is glibc.

    Giving pages back to the system and getting new ones took up to 10 % of a step.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, (1 << 31) - 1)
        mallopt(top_pad, 64 << 20)


@contextmanager
def on_stop(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` at SIGTERM and SIGINT; after that, SIGINT interrupts."""

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        act()

    before = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM and SIGINT into what a function returns; a second SIGINT interrupts.

    They may have been held back until now (`launch.py`).
    """
    received: list[bool] = []
    with on_stop(lambda: received.append(True)):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        yield lambda: bool(received)
