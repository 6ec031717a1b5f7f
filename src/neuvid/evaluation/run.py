"""Runs an evaluation; what was done before is taken from the cache."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from neuvid.errors import InvalidSetting, NeuvidError
from neuvid.evaluation.codec import Codec
from neuvid.evaluation.ffmpeg import ffmpeg_path, ffmpeg_version
from neuvid.evaluation.jobs import PICTURE_FILE, Job, Outcome, run_jobs
from neuvid.evaluation.pictures import write_last_picture
from neuvid.evaluation.progress import ProgressTally, Report
from neuvid.evaluation.published import Published
from neuvid.evaluation.results import (
    ClipFacts,
    Conditions,
    Curve,
    Evaluation,
    Failure,
    Point,
)
from neuvid.evaluation.source import RawClip, extract_clip
from neuvid.outputs import writing


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How an evaluation runs.

    At most `frames` frames of each clip, None for all; `points` rates of each codec; `jobs`
    encodings at once. With `timing` they run alone, one after the other, and only then are their
    seconds kept. With `rgb` clips of 4:2:0 are converted to RGB first. `cache` is a folder that
    may serve many evaluations.

    Raises InvalidSetting when a number is out of range, or there are several jobs with timing.
    """

    cache: Path
    frames: int | None = None
    points: int = 6
    jobs: int = 1
    timing: bool = False
    rgb: bool = False

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
    report: Report = lambda progress: None,
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
    run = _Run(options, codecs, len(clips), report)
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


class _Run:
    """What an evaluation has found so far."""

    def __init__(
        self,
        options: RunOptions,
        codecs: Sequence[Codec | Published],
        clip_count: int,
        report: Report,
    ) -> None:
        self.clips: list[ClipFacts] = []
        self.curves: list[Curve] = []
        self.failures: list[Failure] = []
        self._options = options
        self._codecs = codecs
        coders = [codec for codec in codecs if not isinstance(codec, Published)]
        self._qualities = {codec.name: codec.qualities(options.points) for codec in coders}
        planned = {name: clip_count * len(values) for name, values in self._qualities.items()}
        self._tally = ProgressTally(planned, options.jobs, report)

    def evaluate_clip(self, path: Path) -> None:
        """Code a clip with all codecs."""
        options = self._options
        with TemporaryDirectory(dir=options.cache.resolve()) as folder:
            try:
                clip = extract_clip(path, Path(folder), options.frames, as_rgb=options.rgb)
            except NeuvidError as error:
                self._skip_clip(Failure(path.name, "", str(error)))
                return
            self.clips.append(_facts(clip))
            _keep_source_picture(clip, options.cache)
            self._code_clip(clip)

    def _skip_clip(self, failure: Failure) -> None:
        self.failures.append(failure)
        for name, qualities in self._qualities.items():
            for _ in qualities:
                self._tally.add(name, None)

    def _code_clip(self, clip: RawClip) -> None:
        points: dict[str, list[Point]] = {codec.name: [] for codec in self._codecs}
        for outcome in run_jobs(list(self._jobs(clip)), self._options.jobs, self._count):
            name = outcome.job.codec.name
            if isinstance(outcome.result, Point):
                points[name].append(outcome.result)
            else:
                self.failures.append(Failure(clip.name, name, outcome.result))
        for codec in self._codecs:
            if isinstance(codec, Published):
                self._add_published(clip, codec)
            elif points[codec.name]:
                self.curves.append(_curve(clip, codec, points[codec.name]))

    def _jobs(self, clip: RawClip) -> Iterator[Job]:
        for codec in self._codecs:
            if not isinstance(codec, Published):
                for quality in self._qualities[codec.name]:
                    yield Job(clip, codec, quality, self._options.cache, self._options.timing)

    def _count(self, outcome: Outcome) -> None:
        self._tally.add(outcome.job.codec.name, outcome.seconds)

    def _add_published(self, clip: RawClip, codec: Published) -> None:
        if clip.name in codec.curves:
            self.curves.append(codec.curves[clip.name])
        else:
            self.failures.append(Failure(clip.name, codec.name, "no points of this clip"))


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
        kmac_per_pixel=codec.kmac_per_pixel,
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
