"""Frames in, packets out."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from neuvid.bitstream.packet import Packet
from neuvid.choice import FrameChoice, FrameKind
from neuvid.codec.schedule import LEVEL_PATTERN, CutDetector, Schedule
from neuvid.entropy.coder import RateEstimator, SymbolWriter
from neuvid.models.base import GRID, State
from neuvid.models.checkpoint import LoadedModel
from neuvid.rate.controller import FrameStats, FrameView, RateController
from neuvid.rate.lagrangian import INTER_LAMBDAS, PLANE_WEIGHTS
from neuvid.video.colour import frame_to_tensor
from neuvid.video.frame import ClipInfo, Frame

PACKETS_IN_WORK = 2  # frames whose symbols are being coded while the networks go on


@dataclass(frozen=True, slots=True)
class _Pending:
    choice: FrameChoice
    number: int
    pts: int
    parallel: bool
    payload: Future[bytes]


class Encoder:
    """Codes the frames of a clip in order. Entropy coding runs on a thread of its own.

    A context manager; memory does not grow with the number of frames.
    """

    def __init__(
        self, model: LoadedModel, clip: ClipInfo, *, control: RateController, schedule: Schedule
    ) -> None:
        self.model = model
        self.clip = clip
        self.control = control
        self.schedule = schedule
        padded = clip.size.padded(GRID)
        self.state: State = model.network.initial_state(padded.height, padded.width)
        self._cuts = CutDetector()
        self._number = 0
        self._last_intra = 0
        self._pending: deque[_Pending] = deque()
        self._worker = ThreadPoolExecutor(1, "entropy-coder")

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the thread."""
        self._worker.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def encode(self, frame: Frame) -> list[Packet]:
        """Code the next frame and return the packets that are ready: none, one or several."""
        tensor = frame_to_tensor(frame, self.clip.pixel_format).to(self.model.device)
        choice = self._choose(tensor)
        writer = SymbolWriter(self.model.tables)
        self.state = self.model.network.code_frame(tensor, self.state, choice, writer)
        payload = self._worker.submit(writer.finish)
        pending = _Pending(choice, self._number, frame.pts, writer.streams > 0, payload)
        self._pending.append(pending)
        if choice.kind is FrameKind.INTRA:
            self._last_intra = self._number
        self._number += 1
        return self._ready(PACKETS_IN_WORK)

    def flush(self) -> list[Packet]:
        """Return the packets that are still in work."""
        return self._ready(0)

    def _ready(self, in_work: int) -> list[Packet]:
        packets = []
        while self._pending and (len(self._pending) > in_work or self._pending[0].payload.done()):
            done = self._pending.popleft()
            payload = done.payload.result()
            self.control.observe(done.choice, FrameStats(8.0 * len(payload)))
            packets.append(Packet(done.choice, payload, done.parallel, done.pts, done.number))
        return packets

    def _choose(self, frame: Tensor) -> FrameChoice:
        may_be_cut = self._cuts.may_be_cut(frame)
        if self.schedule.is_intra(self._number):
            return self._choose_kind(frame, FrameKind.INTRA)
        inter = self._choose_kind(frame, FrameKind.INTER)
        if not (may_be_cut and self.schedule.scene_cuts):
            return inter
        intra = self._choose_kind(frame, FrameKind.INTRA)
        return min(inter, intra, key=lambda choice: self._cost(frame, choice))

    def _choose_kind(self, frame: Tensor, kind: FrameKind) -> FrameChoice:
        since_intra = 0 if kind is FrameKind.INTRA else self._number - self._last_intra
        view = FrameView(
            number=self._number,
            kind=kind,
            level=LEVEL_PATTERN[since_intra % len(LEVEL_PATTERN)],
            refresh=self.schedule.is_refresh(since_intra, self.model.network.refresh_period),
            trial=lambda choice: FrameStats(self._try(frame, choice)[0]),
        )
        return self.control.choose(view)

    def _try(self, frame: Tensor, choice: FrameChoice) -> tuple[float, State]:
        estimator = RateEstimator(noise=False)
        state = self.model.network.code_frame(frame, self.state, choice, estimator)
        return float(estimator.total().sum()), state

    def _cost(self, frame: Tensor, choice: FrameChoice) -> float:
        """Bits per pixel and weighted distortion, by which a scene cut is decided."""
        bits, state = self._try(frame, choice)
        errors = (self.model.network.render(state) - frame).square().mean((0, 2, 3))
        weights = torch.tensor(PLANE_WEIGHTS, device=errors.device)
        quality = torch.tensor(float(choice.quality))  # type: ignore[arg-type]
        pixels = frame.shape[2] * frame.shape[3]
        return bits / pixels + float(INTER_LAMBDAS.at(quality)) * float(
            (3 * errors * weights).sum()
        )
