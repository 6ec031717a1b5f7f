"""Runs an evaluation of rate control; what was done before is taken from the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from neuvid.bitstream.container import PacketReader
from neuvid.bitstream.packet import Packet
from neuvid.choice import FrameChoice, quality_of
from neuvid.codec.clips import encode_clip
from neuvid.codec.goals import BitrateController, RateGoal
from neuvid.errors import NeuvidError
from neuvid.evaluation.anchors import Structure
from neuvid.evaluation.constant_rate import ENCODERS, ConstantRateEncoder
from neuvid.evaluation.own import NeuvidCodec
from neuvid.evaluation.rates import RateRun
from neuvid.evaluation.results import Failure
from neuvid.evaluation.source import RawClip, extract_clip
from neuvid.models.checkpoint import LoadedModel, load_model
from neuvid.outputs import replacing, writing
from neuvid.rate.budget import Bitrate
from neuvid.rate.controller import FrameStats, FrameView, RateController
from neuvid.video.clip import open_clip

NAMES = {
    BitrateController.NEUVID: "neuvid",
    BitrateController.AGENT: "DynamicDVC, agent",
    BitrateController.SLIDING_WINDOW: "DynamicDVC, sliding window",
    BitrateController.BUFFER_FEEDBACK: "DCVC-FM, Algorithm 1",
}
BUFFERED = "neuvid within a buffer"
CONSTANT = "constant rate"
STEPS = (0.5, 2.0)  # of the target
SCENARIOS = {  # shares of the mean target, each held as long
    "scenario 1": (1.0, 2.0, 0.5, 1.5),
    "scenario 2": (0.5, 0.75, 1.0, 1.5, 2.0, 0.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RateEvaluationOptions:
    """How rate control is evaluated.

    The targets of a clip are the rates of `model` at constant `qualities`; each of `controllers`
    is to hold them; neuvid's own does so within a buffer of a second, too, as other encoders do. At
    most `frames` frames of each clip are coded, None for all. The middle target is also halved and
    doubled in the middle of the clip. `cache` is a folder that may serve many evaluations.
    """

    model: str
    controllers: tuple[BitrateController, ...]
    qualities: tuple[float, ...]
    cache: Path
    frames: int | None = None


def evaluate_rates(
    clips: Sequence[Path], options: RateEvaluationOptions, told: Callable[[RateRun], None]
) -> tuple[list[RateRun], list[Failure]]:
    """Code clips at constant qualities, at the rates of these, and at rates that change.

    `told` is called after each encoding. Targets that fluctuate are run on the first clip alone.
    What other encoders fail at is told beside the runs.

    Raises UnreadableInput, InvalidSetting and UnwritableOutput.
    """
    runner = _Runner(options, told)
    with writing(str(options.cache)):
        options.cache.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(clips):
        with TemporaryDirectory(dir=options.cache.resolve()) as folder:
            clip = extract_clip(path, Path(folder), options.frames)
            runner.run_clip(clip, fluctuating=number == 0)
    return runner.runs, runner.failures


def runs_of(clips: int, options: RateEvaluationOptions) -> int:
    """Return the number of encodings of an evaluation."""
    targets, controllers = len(options.qualities), len(options.controllers)
    buffered = BitrateController.NEUVID in options.controllers
    each = targets * (1 + controllers + buffered + len(ENCODERS)) + controllers * len(STEPS)
    return clips * each + controllers * len(SCENARIOS)


@dataclass(frozen=True, slots=True)
class _Work:
    """An encoding to be done."""

    setting: str
    goal: RateGoal

    @property
    def codec(self) -> str:
        return BUFFERED if self.goal.max_rate else NAMES[self.goal.controller]


class _Runner:
    def __init__(self, options: RateEvaluationOptions, told: Callable[[RateRun], None]) -> None:
        self.runs: list[RateRun] = []
        self.failures: list[Failure] = []
        self._options = options
        self._told = told
        self._identity = NeuvidCodec(options.model, Structure(), threads=1).identity(0)
        self._model = load_model(options.model)

    def run_clip(self, clip: RawClip, *, fluctuating: bool) -> None:
        rates = []
        for quality in self._options.qualities:
            work = _Work(f"quality {quality:g}", RateGoal(quality=quality))
            rates.append(self._own(clip, work).bits_per_second)
        middle = sorted(rates)[len(rates) // 2]
        for rate in rates:
            self._controllers(clip, CONSTANT, Bitrate(rate))
            if BitrateController.NEUVID in self._options.controllers:
                buffered = RateGoal(bitrate=Bitrate(rate), max_rate=rate)
                self._own(clip, _Work(CONSTANT, buffered))
            self._others(clip, rate)
        changing = {f"step to {factor:g} of the target": (1.0, factor) for factor in STEPS}
        for setting, shares in (changing | (SCENARIOS if fluctuating else {})).items():
            self._controllers(clip, setting, _varying(clip, middle, shares))

    def _controllers(self, clip: RawClip, setting: str, target: Bitrate) -> None:
        for controller in self._options.controllers:
            self._own(clip, _Work(setting, RateGoal(bitrate=target, controller=controller)))

    def _own(self, clip: RawClip, work: _Work) -> RateRun:
        targets = _targets(clip, work.goal.bitrate)
        identity = f"{self._identity} {work.codec} {work.setting} {targets}"
        return self._keep(clip, identity, partial(_code, self._model, clip, work))

    def _others(self, clip: RawClip, rate: float) -> None:
        for encoder in ENCODERS:
            try:
                self._keep(clip, encoder.identity(rate), partial(_code_other, encoder, clip, rate))
            except NeuvidError as error:
                self.failures.append(Failure(clip.name, encoder.name, str(error)))

    def _keep(self, clip: RawClip, identity: str, code: Callable[[Path], RateRun]) -> RateRun:
        """Take a run from the cache, else code the clip."""
        key = hashlib.sha256(f"{clip.digest} {identity}".encode()).hexdigest()[:24]
        file = self._options.cache / f"rates-{key}.json"
        if file.is_file():
            run = RateRun(**json.loads(file.read_text()))
        else:
            with TemporaryDirectory() as folder:
                run = code(Path(folder))
            with replacing(file) as cached:
                cached.write(json.dumps(asdict(run)).encode())
        self.runs.append(run)
        self._told(run)
        return run


class _Measuring:
    """Measures what frames show under another controller, and what was foreseen of them."""

    def __init__(self, control: RateController) -> None:
        self.control = control
        self.psnr: list[float] = []
        self.qualities: list[float] = []
        self.foresight_errors: list[float] = []

    def choose(self, view: FrameView) -> FrameChoice:
        foreseen = cache(view.foresee)
        choice = self.control.choose(replace(view, foresee=foreseen))
        tried = view.trial(choice)
        self.psnr.append(tried.psnr())
        self.qualities.append(quality_of(choice))
        if foreseen.cache_info().currsize:  # the controller has asked
            self.foresight_errors.append(abs(foreseen()(choice) / tried.bits - 1))
        return choice

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        self.control.observe(choice, stats)


def _code(model: LoadedModel, clip: RawClip, work: _Work, folder: Path) -> RateRun:
    """Encode a clip into a file in `folder` and read the bits of each frame from it."""
    stream = folder / "stream.nvid"
    with open_clip(clip.path, raw=clip.format) as frames:
        control = _Measuring(work.goal.control(model, frames.info))
        encode_clip(frames, stream, model=model, control=control)
    with stream.open("rb") as file:
        packets = PacketReader(file).stored_packets()
        bits = [8.0 * stored.size for stored in packets if isinstance(stored.packet, Packet)]
    bits[0] += 8.0 * stream.stat().st_size - sum(bits)
    return RateRun(
        codec=work.codec,
        clip=clip.name,
        setting=work.setting,
        frame_rate=float(clip.format.frame_rate),
        targets=_targets(clip, work.goal.bitrate),
        bits=bits,
        psnr=fmean(control.psnr),
        qualities=control.qualities,
        foresight_error=fmean(control.foresight_errors) if control.foresight_errors else None,
    )


def _code_other(encoder: ConstantRateEncoder, clip: RawClip, rate: float, folder: Path) -> RateRun:
    return RateRun(
        codec=encoder.name,
        clip=clip.name,
        setting=CONSTANT,
        frame_rate=float(clip.format.frame_rate),
        targets=_targets(clip, Bitrate(rate)),
        bits=encoder.encode(clip, rate, folder),
    )


def _varying(clip: RawClip, rate: float, shares: tuple[float, ...]) -> Bitrate:
    """Return a target that holds each share of a rate for as many frames."""
    frames = clip.frames // len(shares)
    starts = (
        (float((frames * number - 0.5) / clip.format.frame_rate), rate * share)
        for number, share in enumerate(shares)
    )
    _, *changes = starts
    return Bitrate(rate * shares[0], changes)


def _targets(clip: RawClip, target: Bitrate | None) -> list[float]:
    if target is None:
        return []
    rate = float(clip.format.frame_rate)
    return [target.at(number / rate) / rate for number in range(clip.frames)]
