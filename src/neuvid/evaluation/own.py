"""neuvid's own codec, through its own files."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

import neuvid
from neuvid.bitstream.container import PacketReader
from neuvid.bitstream.packet import Packet
from neuvid.choice import QUALITIES
from neuvid.codec.clips import encode_clip
from neuvid.codec.goals import RateGoal
from neuvid.codec.schedule import RefreshPeriod, Schedule
from neuvid.codec.streams import decode_stream
from neuvid.evaluation.anchors import Structure
from neuvid.evaluation.ffmpeg import Cost
from neuvid.evaluation.memory import peak_bytes, reset_peak
from neuvid.evaluation.source import RawClip
from neuvid.models.checkpoint import LoadedModel, load_model
from neuvid.models.complexity import measure_complexity
from neuvid.rate.budget import Bitrate
from neuvid.rate.controller import FixedQuality
from neuvid.video.clip import open_clip

CODE = {".py", ".so", ".pyd"}  # suffixes
APART = {"evaluation", "training", "cli", "weights"}  # packages that no stream depends on


@dataclass(frozen=True, slots=True)
class NeuvidCodec:
    """A model of neuvid at constant qualities or bit rates; `model` is a preset or a checkpoint.

    `chosen` are the qualities to code at, else they are spread over all; `bitrates`, in kbit/s,
    are held by rate control instead. `refresh_period` is that of a schedule, `route` that of the
    inter frames. `settings` are those that the name tells, such as ":refresh=32". Raises
    InvalidSetting for what is out of range, and as `load_model` does.
    """

    model: str
    structure: Structure
    threads: int
    device: str = "cpu"
    chosen: tuple[float, ...] = ()
    bitrates: tuple[float, ...] = ()
    refresh_period: RefreshPeriod | None = None
    route: int | None = None
    settings: str = ""

    suffix = ".nvid"

    def __post_init__(self) -> None:
        for quality in self.qualities(1):
            self._goal(quality)  # checks the ranges
        FixedQuality(0, self.route)  # checks the route
        self._schedule()  # checks the periods
        self._load()

    @property
    def name(self) -> str:
        """The preset, or the checkpoint's file name, with the settings asked for."""
        return Path(self.model).name.removesuffix(".safetensors") + self.settings

    @property
    def version(self) -> str:
        """The code and the weights that encode."""
        model = self._load()
        weights = f"weights {model.digest.hex()[:8]}, {model.arithmetic} arithmetic"
        return f"neuvid {version('neuvid')}, code {_code_digest()[:8]}, {weights}"

    @property
    def kmac_per_pixel(self) -> float | None:
        """Those of encoding an inter frame on the route, None where it changes with the quality."""
        routes = _inter_complexity(self.model, self.device)
        if self.route is None and len(routes) > 1:
            return None
        return routes[self.route or 0]

    def describe(self, quality: float) -> str:
        """Return an encoding in words."""
        return f"{quality:g} kbit/s" if self.bitrates else f"quality {quality:g}"

    def target_rate(self, quality: float) -> float | None:
        """Return the bits per second that are aimed for, None at a constant quality."""
        return 1000 * quality if self.bitrates else None

    def identity(self, quality: float) -> str:
        """Return text that differs where streams may differ."""
        weights = f"{self.model} {self._load().digest.hex()}"
        choices = f"{self.describe(quality)} {self.route} {self._schedule()}"
        return f"{weights} {_code_digest()} {choices} {self.device}"

    def qualities(self, points: int) -> list[float]:
        """Return the bit rates or qualities asked for, else `points` of the latter.

        They go from the fewest bits on.
        """
        if self.bitrates or self.chosen:
            return sorted(self.bitrates or self.chosen)
        step = (QUALITIES - 1) / max(points - 1, 1)
        return [float(round(step * number)) for number in range(points)]

    def encode(self, clip: RawClip, quality: float, stream: Path) -> Cost:
        """Encode a clip; the time of loading the model does not count."""
        model, goal, schedule = self._load(), self._goal(quality), self._schedule()

        def work() -> None:
            with open_clip(clip.path, raw=clip.format) as frames:
                control = goal.control(model, frames.info)
                encode_clip(frames, stream, model=model, control=control, schedule=schedule)

        raw = f"--frame-size {clip.size} --fps {clip.format.frame_rate}"
        raw += f" --pixel-format {clip.format.pixel_format.value}"
        setting = f"--bitrate {quality:g}k" if self.bitrates else f"--quality {quality:g}"
        setting += f" --intra-period {schedule.intra_period}"
        if self.refresh_period is not None:
            setting += f" --refresh {self.refresh_period}"
        if self.route is not None:
            setting += f" --route {self.route}"
        command = f"neuvid encode {clip.path} {stream} --model {self.model} {setting} {raw}"
        return self._measure(command, work)

    def decode(self, clip: RawClip, stream: Path, decoded: Path) -> Cost:
        """Decode a stream into bare planes; the time of loading the model does not count."""
        model = self._load()

        def work() -> None:
            decode_stream(stream, decoded, model=model)

        return self._measure(f"neuvid decode {stream} {decoded} --model {self.model}", work)

    def container_bytes(self, stream: Path) -> int:
        """Return the bytes of a stream that are no coded frame."""
        with stream.open("rb") as file:
            payloads = [len(p.payload) for p in PacketReader(file) if isinstance(p, Packet)]
        return stream.stat().st_size - sum(payloads)

    def _goal(self, quality: float) -> RateGoal:
        rate = self.target_rate(quality)
        if rate is None:
            return RateGoal(quality=quality, route=self.route)
        return RateGoal(bitrate=Bitrate(rate), route=self.route)

    def _schedule(self) -> Schedule:
        period = self.structure.intra_period
        return Schedule(period, refresh_period=self.refresh_period)

    def _load(self) -> LoadedModel:
        torch.set_num_threads(self.threads)
        return _load_once(self.model, self.device)

    def _measure(self, command: str, work: Callable[[], None]) -> Cost:
        reset_peak(os.getpid())
        begin = time.perf_counter()
        work()
        return Cost(command, time.perf_counter() - begin, peak_bytes(os.getpid()))


@cache
def _load_once(name: str, device: str) -> LoadedModel:
    return load_model(name, device=device)


@cache
def _inter_complexity(name: str, device: str) -> list[float]:
    """Return the kMAC per pixel of an inter frame, by route."""
    return measure_complexity(_load_once(name, device).network.config).inter_totals


@cache
def _code_digest() -> str:
    """Return a digest of all code that a stream depends on."""
    digest = hashlib.sha256(torch.__version__.encode())
    for folder in map(Path, neuvid.__path__):
        for path in sorted(folder.rglob("*")):
            if path.suffix in CODE and path.relative_to(folder).parts[0] not in APART:
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
