"""Frames in, packets out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from neuvid.bitstream.packet import Packet
from neuvid.choice import FrameChoice, FrameKind, quality_of
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import CutDetector, Schedule
from neuvid.codec.statistics import packet_bytes
from neuvid.entropy.coder import SymbolWriter
from neuvid.errors import InvalidSetting
from neuvid.lagrangian import PLANE_WEIGHTS
from neuvid.models.base import GRID, State
from neuvid.models.checkpoint import LoadedModel
from neuvid.rate.controller import FramePlan, FrameStats, FrameView, RateController, Trial
from neuvid.video.colour import frame_to_tensor, tensor_to_frame
from neuvid.video.frame import ClipInfo, Frame

PSNR_FLOOR = 1e-10  # mean square error of 100 dB
PACKETS_IN_WORK = 2  # frames whose symbols are being coded while the networks go on
REFRESH_WORTH = 5.5  # times that frames must cost what a refresh adds before one pays early
PACKETS_UNKNOWN = 1  # frames whose size a controller does not know when it chooses the next one


@dataclass(frozen=True, slots=True)
class _Coded:
    """A frame that was coded for a trial."""

    state: State
    payload: bytes
    parallel: bool


@dataclass(frozen=True, slots=True)
class _Pending:
    before: FrameChoice | None  # that of the frame before
    choice: FrameChoice
    number: int
    pts: int
    parallel: bool
    payload: Future[bytes]

    def packet(self) -> Packet:
        payload = self.payload.result()
        return Packet(self.choice, payload, self.parallel, self.pts, self.number)


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
        self.header = header_of(model, clip)
        padded = clip.size.padded(GRID)
        self.state: State = model.network.initial_state(padded.height, padded.width)
        self._ladder = model.network.route_ladder()
        self._cuts = CutDetector()
        self._number = 0
        self._last_intra = 0
        self._last_choice: FrameChoice | None = None
        self._bits_since_restart = 0.0  # those known, after the last intra frame or refresh
        self._trials: dict[FrameChoice, _Coded] = {}  # of the frame that is being chosen for
        self._pending: deque[_Pending] = deque()
        self._unobserved: deque[_Pending] = deque()
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
        """Tell the controller what the last frame cost, unless an error came; stop the thread."""
        try:
            if error is None:
                self._observe(0)
        finally:
            self._worker.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def encode(self, frame: Frame) -> list[Packet]:
        """Code the next frame and return the packets that are ready: none, one or several.

        Raises InvalidSetting when a route is chosen that the model does not have.
        """
        tensor = frame_to_tensor(frame, self.clip.pixel_format).to(self.model.device)
        self._observe(PACKETS_UNKNOWN)
        choice = self.control.choose(self._view(frame, tensor))
        if choice.route >= self.header.routes:
            expected = f"0..{self.header.routes - 1} for {self.model.name}"
            raise InvalidSetting("route", got=choice.route, expected=expected)
        pending = self._code(frame, tensor, choice)
        self._pending.append(pending)
        self._unobserved.append(pending)
        self._trials.clear()
        if choice.kind is FrameKind.INTRA:
            self._last_intra = self._number
        self._last_choice = choice
        self._number += 1
        return self._ready(PACKETS_IN_WORK)

    def flush(self) -> list[Packet]:
        """Return the packets that are still in work; what follows is coded as without this."""
        return self._ready(0)

    def _observe(self, unknown: int) -> None:
        """Tell the controller what frames cost, at a time that no thread and no flush decides."""
        while len(self._unobserved) > unknown:
            pending = self._unobserved.popleft()
            packet = pending.packet()
            bits = 8.0 * packet_bytes(packet, self.header, pending.before)
            self.control.observe(packet.choice, FrameStats(bits))
            restarts = packet.choice.kind is FrameKind.INTRA or packet.choice.refresh
            self._bits_since_restart = 0.0 if restarts else self._bits_since_restart + bits

    def _ready(self, in_work: int) -> list[Packet]:
        packets = []
        while self._pending and (len(self._pending) > in_work or self._pending[0].payload.done()):
            packets.append(self._pending.popleft().packet())
        return packets

    def _view(self, frame: Frame, tensor: Tensor) -> FrameView:
        may_be_cut = self._cuts.may_be_cut(tensor)
        kind = self._kind(tensor, may_be_cut)
        return FrameView(
            number=self._number,
            seconds=float((frame.pts - self.clip.start) * self.clip.time_base),
            plan=self._first_plan(tensor, kind),
            later=partial(self._plan, kind),
            may_be_cut=may_be_cut,
            trial=partial(self._trial, frame, tensor),
            foresee=partial(self._foresee, tensor),
        )

    def _plan(self, kind: FrameKind, ahead: int) -> FramePlan:
        """Return the plan of a frame `ahead` of this one, if this one is of a kind."""
        last_intra = self._number if kind is FrameKind.INTRA else self._last_intra
        period = self.model.network.refresh_period
        plan = self.schedule.plan(self._number + ahead, last_intra, period)
        return replace(plan, ladder=self._ladder)

    def _first_plan(self, frame: Tensor, kind: FrameKind) -> FramePlan:
        """Return the plan of this frame, of a kind; decide a refresh at the last quality."""
        plan = self._plan(kind, 0)
        if not self.schedule.may_refresh(plan):
            return plan
        refreshed = replace(plan, refresh=True)
        with_it, without = (
            8 * len(self._try(frame, each.choice(self._last_quality())).payload)
            for each in (refreshed, plan)
        )
        pays = self._bits_since_restart >= REFRESH_WORTH * (with_it - without)
        return refreshed if pays else plan

    def _kind(self, frame: Tensor, may_be_cut: bool) -> FrameKind:
        """Decide a scene cut at the quality of the last frame."""
        if self.schedule.is_intra(self._number):
            return FrameKind.INTRA
        if not (may_be_cut and self.schedule.scene_cuts):
            return FrameKind.INTER
        return min(
            (FrameKind.INTER, FrameKind.INTRA),
            key=lambda kind: self._cost(frame, self._plan(kind, 0).choice(self._last_quality())),
        )

    def _code(self, frame: Frame, tensor: Tensor, choice: FrameChoice) -> _Pending:
        """Code a frame for good; its entropy coding goes on while the networks do."""
        if tried := self._trials.get(choice):
            self.state, parallel = tried.state, tried.parallel
            payload = self._worker.submit(lambda: tried.payload)
        else:
            writer = SymbolWriter(self.model.tables)
            self.state = self.model.network.code_frame(tensor, self.state, choice, writer)
            parallel = writer.streams > 0
            payload = self._worker.submit(writer.finish)
        return _Pending(self._last_choice, choice, self._number, frame.pts, parallel, payload)

    def _last_quality(self) -> float:
        return quality_of(self._last_choice) if self._last_choice else 0.0

    def _try(self, frame: Tensor, choice: FrameChoice) -> _Coded:
        if choice not in self._trials:
            writer = SymbolWriter(self.model.tables)
            state = self.model.network.code_frame(frame, self.state, choice, writer)
            self._trials[choice] = _Coded(state, writer.finish(), writer.streams > 0)
        return self._trials[choice]

    def _trial(self, frame: Frame, tensor: Tensor, choice: FrameChoice) -> Trial:
        tried = self._try(tensor, choice)
        packet = Packet(choice, tried.payload, tried.parallel, frame.pts, self._number)
        bits = 8.0 * packet_bytes(packet, self.header, self._last_choice)
        return Trial(bits, partial(self._psnr, tensor, tried.state))

    def _foresee(self, frame: Tensor) -> Callable[[FrameChoice], float]:
        bits = self.model.network.foresee(frame, self.state)
        return lambda choice: float(bits(choice))

    def _errors(self, frame: Tensor, shown: Tensor) -> Tensor:
        """Return the mean square errors [3] of Y, U and V; both are [1, 3, H, W]."""
        return (shown - frame).square().mean((0, 2, 3))

    @torch.inference_mode()
    def _psnr(self, frame: Tensor, state: State) -> float:
        """Return (6Y + U + V) / 8 in dB of what a viewer sees."""
        size, pixel_format = self.clip.size, self.clip.pixel_format
        picture = self.model.network.render(state)
        shown = frame_to_tensor(tensor_to_frame(picture, size, pixel_format, 0), pixel_format)
        visible = (..., slice(size.height), slice(size.width))
        errors = self._errors(frame.cpu()[visible], shown[visible]).clamp_min(PSNR_FLOOR)
        return float(-10 * (errors.log10() * torch.tensor(PLANE_WEIGHTS)).sum())

    def _cost(self, frame: Tensor, choice: FrameChoice) -> float:
        """Bits per pixel and weighted distortion, by which scene cuts are decided."""
        tried = self._try(frame, choice)
        errors = self._errors(frame, self.model.network.render(tried.state))
        weights = torch.tensor(PLANE_WEIGHTS, device=errors.device)
        quality = torch.tensor(float(choice.quality))  # type: ignore[arg-type]
        pixels = frame.shape[2] * frame.shape[3]
        distortion = float((3 * errors * weights).sum())
        value = float(self.model.network.inter_lambdas.at(quality))
        return 8 * len(tried.payload) / pixels + value * distortion
