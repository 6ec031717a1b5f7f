"""Runs an evaluation; what was done before is taken from the cache."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

from neuvid.errors import InvalidSetting, NeuvidError
from neuvid.evaluation import metrics, pictures, source
from neuvid.evaluation.codecs import Codec, Published
from neuvid.evaluation.ffmpeg import ffmpeg_path, ffmpeg_version
from neuvid.evaluation.metrics import measure
from neuvid.evaluation.pictures import write_last_picture
from neuvid.evaluation.results import (
    ClipFacts,
    Conditions,
    Curve,
    Evaluation,
    Failure,
    Point,
    average_metrics,
)
from neuvid.evaluation.source import RawClip, extract_clip
from neuvid.video.writer import writing

POINT_FILE = "point.json"
PICTURE_FILE = "last-frame.webp"

Progress: TypeAlias = Callable[[int, int], None]  # encodings done, and of all


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How an evaluation runs.

    At most `frames` frames of each clip, None for all; `points` rates of each codec; `jobs`
    encodings at once. With `timing` they run alone, one after the other, and only then are their
    seconds kept. `cache` is a folder that may serve many evaluations.

    Raises InvalidSetting when a number is out of range, or there are several jobs with timing.
    """

    cache: Path
    frames: int | None = None
    points: int = 6
    jobs: int = 1
    timing: bool = False

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("points", 1), ("jobs", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidSetting(name, got=value, expected=f"{least} or more")
        if self.timing and self.jobs > 1:
            raise InvalidSetting("jobs", got=self.jobs, expected="1 with timing")


def evaluate(
    clips: Sequence[Path],
    codecs: Sequence[Codec | Published],
    options: RunOptions,
    progress: Progress = lambda done, total: None,
) -> Evaluation:
    """Code every clip with every codec through files, and measure.

    What fails is told in the result, and the rest goes on. When interrupted, calling it again
    goes on where it stopped.

    Raises InvalidSetting when two clips or two codecs share a name, and UnwritableOutput.
    """
    _check_names("clip", [clip.stem for clip in clips])
    _check_names("codec", [codec.name for codec in codecs])
    with writing(str(options.cache)):
        options.cache.mkdir(parents=True, exist_ok=True)
    run = _Run(options, codecs, len(clips), progress)
    for path in clips:
        run.evaluate_clip(path)
    return Evaluation(
        date=datetime.now(UTC).isoformat(" ", "minutes"),
        ffmpeg=ffmpeg_version(ffmpeg_path()),
        machine=_machine(),
        clips=tuple(run.clips),
        curves=tuple(run.curves),
        failures=tuple(dict.fromkeys(run.failures)),
    )


@dataclass(frozen=True, slots=True)
class _Job:
    """One encoding."""

    clip: RawClip
    codec: Codec
    quality: float
    options: RunOptions


class _Run:
    """What an evaluation has found so far."""

    def __init__(
        self,
        options: RunOptions,
        codecs: Sequence[Codec | Published],
        clip_count: int,
        progress: Progress,
    ) -> None:
        self.clips: list[ClipFacts] = []
        self.curves: list[Curve] = []
        self.failures: list[Failure] = []
        self._options = options
        self._codecs = codecs
        coders = (codec for codec in codecs if not isinstance(codec, Published))
        self._jobs_per_clip = sum(len(codec.settings(options.points)) for codec in coders)
        self._total = clip_count * self._jobs_per_clip
        self._progress = progress
        self._done = 0

    def evaluate_clip(self, path: Path) -> None:
        """Code a clip with all codecs."""
        with TemporaryDirectory(dir=self._options.cache.resolve()) as folder:
            try:
                clip = extract_clip(path, Path(folder), self._options.frames)
            except NeuvidError as error:
                self.failures.append(Failure(path.name, "", str(error)))
                self._step(self._jobs_per_clip)
                return
            self.clips.append(_facts(clip))
            _keep_source_picture(clip, self._options.cache)
            self._run_jobs(clip)

    def _run_jobs(self, clip: RawClip) -> None:
        points: dict[str, list[Point]] = {codec.name: [] for codec in self._codecs}
        for job, outcome in _outcomes(list(self._jobs(clip)), self._options.jobs, self._step):
            if isinstance(outcome, Point):
                points[job.codec.name].append(outcome)
            else:
                self.failures.append(Failure(clip.name, job.codec.name, outcome))
        for codec in self._codecs:
            if isinstance(codec, Published):
                self._add_published(clip, codec)
            elif points[codec.name]:
                self.curves.append(_curve(clip, codec, points[codec.name]))

    def _jobs(self, clip: RawClip) -> Iterator[_Job]:
        for codec in self._codecs:
            if not isinstance(codec, Published):
                for quality in codec.settings(self._options.points):
                    yield _Job(clip, codec, quality, self._options)

    def _add_published(self, clip: RawClip, codec: Published) -> None:
        if clip.name in codec.curves:
            self.curves.append(codec.curves[clip.name])
        else:
            self.failures.append(Failure(clip.name, codec.name, "no points of this clip"))

    def _step(self, jobs: int) -> None:
        self._done += jobs
        self._progress(self._done, self._total)


def _outcomes(
    jobs: list[_Job], processes: int, step: Callable[[int], None]
) -> list[tuple[_Job, Point | str]]:
    """Run jobs; the outcome of each is its point, or the reason why there is none."""
    if processes == 1:
        outcomes = []
        for job in jobs:
            outcomes.append((job, _run_job(job)))
            step(1)
        return outcomes
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_run_job, job) for job in jobs]
        for _ in as_completed(futures):
            step(1)
        return [(job, future.result()) for job, future in zip(jobs, futures, strict=True)]


def _run_job(job: _Job) -> Point | str:
    """Return the point of a job, from the cache where it is there; or why it failed."""
    try:
        key = _cache_key(job)
        point = _cached_point(job, key)
        if point is None:
            cache = job.options.cache.resolve()
            with TemporaryDirectory(dir=cache, ignore_cleanup_errors=True) as folder:
                point = _measure_job(job, key, Path(folder))
                shutil.rmtree(cache / key, ignore_errors=True)
                Path(folder).rename(cache / key)
    except NeuvidError as error:
        return str(error)
    return point


def _measure_job(job: _Job, key: str, folder: Path) -> Point:
    clip, codec = job.clip, job.codec
    stream, decoded = folder / f"stream{codec.suffix}", folder / "decoded.yuv"
    encoding = codec.encode(clip, job.quality, stream)
    decoding = codec.decode(clip, stream, decoded)
    by_frame = measure(clip, decoded)
    write_last_picture(clip, decoded, folder / PICTURE_FILE)
    decoded.unlink()
    size, timed = stream.stat().st_size, job.options.timing
    point = Point(
        setting=codec.describe(job.quality),
        bits_per_pixel=8 * size / clip.pixels,
        metrics=average_metrics(by_frame),
        by_frame=by_frame,
        file_bytes=size,
        container_bytes=codec.container_bytes(stream),
        encode_seconds=encoding.seconds if timed else None,
        decode_seconds=decoding.seconds if timed else None,
        encode_peak_bytes=encoding.peak_bytes,
        decode_peak_bytes=decoding.peak_bytes,
        encode_command=_without_folders(encoding.command, folder, clip),
        decode_command=_without_folders(decoding.command, folder, clip),
        key=key,
    )
    (folder / POINT_FILE).write_text(json.dumps(asdict(point)))
    return point


def _without_folders(command: str, folder: Path, clip: RawClip) -> str:
    return command.replace(f"{folder}/", "").replace(f"{clip.path.parent}/", "")


def _cache_key(job: _Job) -> str:
    """Return a name that stands for all that a point depends on."""
    identity = (
        job.clip.digest,
        job.codec.name,
        job.codec.identity(job.quality),
        job.codec.threads,
        ffmpeg_version(ffmpeg_path()),
        _measuring_digest(),
    )
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:24]


@cache
def _measuring_digest() -> str:
    """Return a digest of the code that measures."""
    files = (Path(str(module.__file__)) for module in (metrics, pictures, source))
    names = repr([field.name for field in fields(Point)])
    return hashlib.sha256(
        b"".join(file.read_bytes() for file in files) + names.encode()
    ).hexdigest()


def _cached_point(job: _Job, key: str) -> Point | None:
    file = job.options.cache / key / POINT_FILE
    if not file.is_file():
        return None
    point = Point(**json.loads(file.read_text()))
    return None if job.options.timing and point.encode_seconds is None else point


def _keep_source_picture(clip: RawClip, cache: Path) -> None:
    target = cache / clip.digest / PICTURE_FILE
    if not target.is_file():
        target.parent.mkdir(exist_ok=True)
        write_last_picture(clip, clip.path, target)


def _curve(clip: RawClip, codec: Codec, points: list[Point]) -> Curve:
    conditions = Conditions(
        delay=codec.structure.delay,
        intra_period=codec.structure.intra_period,
        frames=clip.frames,
        size=str(clip.size),
        pixel_format=clip.format.pixel_format.value,
    )
    return Curve(
        clip=clip.name,
        codec=codec.name,
        version=codec.version,
        conditions=conditions,
        threads=codec.threads,
        points=tuple(points),
    )


def _facts(clip: RawClip) -> ClipFacts:
    return ClipFacts(
        name=clip.name,
        digest=clip.digest,
        width=clip.size.width,
        height=clip.size.height,
        frames=clip.frames,
        frame_rate=float(clip.format.frame_rate),
    )


def _check_names(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InvalidSetting(f"{what} names", got=name, expected="each name only once")


def _machine() -> str:
    """Return the processor and the number of its cores."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        model = next(names, model)
    return f"{model}, {os.cpu_count()} cores"
