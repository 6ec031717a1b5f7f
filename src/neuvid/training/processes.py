"""The processes of a run: what each computes with, and what they share."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """One process of a run, seen from inside, and what it shares with the others.

    `local_size` of the `world_size` processes are on this machine. `shared` is memory of all of
    them, where they are on one machine without GPUs: they keep one copy of the weights there, and
    each updates a share of it. Elsewhere each process updates a copy of its own.
    """

    rank: int = 0
    world_size: int = 1
    local_size: int = 1
    device: torch.device
    shared: SharedMemory | None = None

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
        shared: SharedMemory | None = None,
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

    @property
    def shares(self) -> int:
        """Into how many shares the updating of weights is divided."""
        return self.world_size if self.shared else 1

    @property
    def share(self) -> int:
        """The number of the share that this process updates."""
        return self.rank if self.shared else 0

    def keep_one_copy(self, tensors: Sequence[Tensor]) -> None:
        """Move float32 tensors, which are the same in all processes, to memory of all."""
        if self.shared is not None:
            self.shared.keep(tensors)

    def average(self, shares: Sequence[Sequence[Tensor]]) -> Tensor:
        """Average the gradients of this process's share of parameters; return the norm of all.

        All processes have gradients of the same parameters, float32 and alike in memory.
        """
        shares = [[each for each in share if each.grad is not None] for share in shares]
        if self.shared is not None:
            return self.shared.average(shares)
        (parameters,) = shares
        if self.world_size > 1 and parameters:
            row = torch.empty(_count(parameters), device=self.device)
            _copy_gradients(parameters, row)
            dist.all_reduce(row)
            _set_gradients(parameters, row.div_(self.world_size))
        return nn.utils.get_total_norm(_gradients(parameters))

    def wait_for_shares(self, tensors: Sequence[Tensor]) -> None:
        """Return when all processes have updated their shares of tensors."""
        if self.shared is not None:
            self.shared.barrier.wait()
            torch.autograd.graph.increment_version(tensors)

    def gather(self, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return, in the first process, what those of all shares give; elsewhere nothing."""
        return [values] if self.shared is None else self.shared.gather(values)

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


class SharedMemory:
    """Files that the processes of one machine map into memory, and a barrier between them.

    Each process writes its gradients to a row, averages its share of all rows, and leaves the
    others' shares to them: half the time of sending gradients through sockets.
    """

    def __init__(self, folder: Path, barrier: Barrier, rank: int, world_size: int) -> None:
        self.folder = folder
        self.barrier = barrier
        self.rank = rank
        self.world_size = world_size
        self._files = 0
        self._rows = torch.empty(world_size, 0)  # [world_size, values]
        self._norms = torch.empty(0)  # [world_size]

    def keep(self, tensors: Sequence[Tensor]) -> None:
        """Move tensors here, with the values that the first process has."""
        values = self._allocate(_count(tensors))
        views = _views(values, tensors)
        if self.rank == 0:
            _copy(views, [tensor.detach() for tensor in tensors])
        self.barrier.wait()
        for tensor, view in zip(tensors, views, strict=True):
            tensor.data = view

    def average(self, shares: Sequence[Sequence[Tensor]]) -> Tensor:
        """Average the gradients of this process's share of parameters; return the norm of all."""
        bounds = list(accumulate(map(_count, shares), initial=0))
        first, end = bounds[self.rank : self.rank + 2]
        rows = self._rows_of(bounds[-1])
        _copy_gradients([parameter for share in shares for parameter in share], rows[self.rank])
        self.barrier.wait()
        mean = rows[self.rank, first:end]  # which no other process reads
        for other in set(range(self.world_size)) - {self.rank}:
            mean.add_(rows[other, first:end])
        mean.div_(self.world_size)
        self._norms[self.rank] = torch.linalg.vector_norm(mean)
        _set_gradients(shares[self.rank], mean)
        self.barrier.wait()
        norm: Tensor = torch.linalg.vector_norm(self._norms)
        return norm

    def gather(self, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return what all processes give, in the first; its tensors stay here."""
        files = [self.folder / f"{rank}.pt" for rank in range(self.world_size)]
        torch.save(values, files[self.rank])
        self.barrier.wait()
        gathered = []
        if self.rank == 0:
            for file in files:
                gathered.append(torch.load(file, mmap=True, weights_only=True))
                file.unlink()
        self.barrier.wait()
        return gathered

    def _rows_of(self, count: int) -> Tensor:
        """Return the gradients of all processes, `count` of each."""
        if not len(self._norms):
            self._norms = self._allocate(self.world_size)
        if self._rows.shape[1] < count:
            self._rows = self._allocate(self.world_size * count).view(self.world_size, count)
        return self._rows[:, :count]

    def _allocate(self, count: int) -> Tensor:
        """Return float32 values of all processes, which call this in the same order."""
        self._files += 1
        file = self.folder / f"{self._files}.float32"
        values = torch.from_file(str(file), shared=True, size=count, dtype=torch.float32)
        self.barrier.wait()
        file.unlink(missing_ok=True)  # it is gone with the last that maps it
        return values


def _device(local_rank: int) -> torch.device:
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _copy_gradients(parameters: Sequence[Tensor], row: Tensor) -> None:
    gradients = _gradients(parameters)
    _copy(_views(row, gradients), gradients)


def _set_gradients(parameters: Sequence[Tensor], row: Tensor) -> None:
    """Let parts of a row be the gradients, and lie as they did."""
    views = _views(row, _gradients(parameters))
    for parameter, view in zip(parameters, views, strict=True):
        parameter.grad = view


def _views(row: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return parts of a row that lie in memory as tensors without gaps do."""
    parts = torch.split(row, [tensor.numel() for tensor in tensors])
    return [
        part.as_strided(tensor.shape, tensor.stride())
        for part, tensor in zip(parts, tensors, strict=True)
    ]


def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    if targets:
        torch._foreach_copy_(list(targets), list(sources))


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
