"""`neuvid encode`: a clip to a stream."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from neuvid.cli.options import DAMAGE, STANDARD, Device, Json, Threads, check_paths
from neuvid.cli.output import numbers_of, print_json, show_progress, speed_of, summary_of, tell
from neuvid.cli.rate import (
    BitrateFile,
    BitrateOption,
    Buffer,
    Controller,
    MaxRate,
    OldQuality,
    Outcome,
    Psnr,
    Quality,
    RateOptions,
    Size,
    TwoPass,
    outcome_of,
    quality_by_name,
)
from neuvid.codec.clips import ProgressCallback, encode_clip
from neuvid.codec.goals import RateGoal
from neuvid.codec.passes import OpenClip, TotalGoal, encode_in_passes
from neuvid.codec.schedule import Schedule, read_refresh_period
from neuvid.codec.statistics import StreamStatistics
from neuvid.errors import InvalidSetting
from neuvid.models.checkpoint import Arithmetic, LoadedModel, load_model
from neuvid.models.presets import DEFAULT_MODEL
from neuvid.outputs import is_written_through
from neuvid.rate.distortion import PsnrControl
from neuvid.video.clip import PICTURE_RATE, RawFormat, open_clip
from neuvid.video.frame import FrameSize, PixelFormat, frame_rate

STREAM_SUFFIX = ".nvid"
RAW_SUFFIXES = (".yuv", ".rgb")


def encode(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A video, a folder of pictures, or - for a pipe."),
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="A file that ends in .nvid, or - for a pipe.")
    ],
    model: Annotated[str, typer.Option(help="A preset or a checkpoint file.")] = DEFAULT_MODEL,
    quality: Quality = None,
    qp: OldQuality = None,
    bitrate: BitrateOption = None,
    bitrate_file: BitrateFile = None,
    controller: Controller = None,
    two_pass: TwoPass = False,
    size: Size = None,
    psnr: Psnr = None,
    max_rate: MaxRate = None,
    buffer: Buffer = None,
    intra_period: Annotated[
        int, typer.Option(help="Frames from one intra frame to the next; -1: only where needed.")
    ] = -1,
    scene_cuts: Annotated[
        bool, typer.Option(help="Code a scene cut as an intra frame where that is cheaper.")
    ] = True,
    refresh: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Frames from one restart of the carried features to the next; 0: none; "
            "auto: where it pays.",
            show_default="as the model needs",
        ),
    ] = None,
    route: Annotated[
        int | None,
        typer.Option(help="Width of the networks for inter frames, 0 to 3; else by quality."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Encode so many frames at most.", show_default="all")
    ] = None,
    start: Annotated[float, typer.Option(help="Begin so many seconds into the clip.")] = 0,
    frame_size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Frame size of raw video.", show_default=False)
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Frames per second of raw video or pictures.", show_default=False
        ),
    ] = None,
    pixel_format: Annotated[
        PixelFormat, typer.Option(help="Pixel format of raw video.")
    ] = PixelFormat.YUV420,
    device: Device = "cpu",
    arithmetic: Annotated[
        Arithmetic | None,
        typer.Option(
            help="integer decodes on every machine, the others only on one like this.",
            show_default="integer where the model has it",
        ),
    ] = None,
    threads: Threads = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going",
            help="Write what comes before the place where the input turns out to be broken; the "
            "exit code is then 1.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Encode a clip to a stream (.nvid).

    Sound and subtitles are kept as they are. Raw video needs --frame-size and --fps. The quality
    is constant unless a bit rate, a size or a PSNR is asked for.
    """
    check_paths(source, target)
    _check_target(target)
    rate = None if fps is None else frame_rate(fps)
    raw = _raw_format(source, frame_size, rate, pixel_format)
    goal = RateOptions(
        quality=quality_by_name(quality, qp),
        route=route,
        bitrate=bitrate,
        bitrate_file=bitrate_file,
        controller=controller,
        size=size,
        psnr=psnr,
        two_pass=two_pass,
        max_rate=max_rate,
        buffer=buffer,
    ).goal()
    refresh_period = None if refresh is None else read_refresh_period(refresh)
    schedule = Schedule(intra_period, scene_cuts, refresh_period)
    if threads:
        torch.set_num_threads(threads)
    loaded = load_model(model, device=device, arithmetic=arithmetic)
    open_source = partial(
        open_clip,
        source,
        raw=raw,
        start=start,
        frames=frames,
        picture_rate=rate or PICTURE_RATE,
        passthrough=True,
        keep_going=keep_going,
    )
    work = _Work(open_source, target, loaded, schedule)
    with show_progress("Encoding") as progress:
        if isinstance(goal, TotalGoal):
            _check_readable_again(source)
            done = work.encode_in_passes(goal, progress)
        else:
            done = work.encode(goal, progress)
    tell(done.notes)
    tell(done.outcome.warnings(), "warning")
    if json:
        print_json(done.numbers(), sys.stderr if target == STANDARD else sys.stdout)
    else:
        print(f"{target}: {summary_of(done.statistics)}", file=sys.stderr)
        print(f"{target}: {done.outcome.summary()}", file=sys.stderr)
    if done.damage is not None:
        print(f"neuvid: error: {done.damage}; what came before is written", file=sys.stderr)
        raise typer.Exit(DAMAGE)


@dataclass(frozen=True, slots=True)
class _Done:
    """What is told of an encoding."""

    statistics: StreamStatistics
    outcome: Outcome
    notes: list[str]
    damage: str | None

    def numbers(self) -> dict[str, object]:
        result = {"rate": self.outcome.numbers(), "damage": self.damage}
        return numbers_of(self.statistics) | speed_of(self.statistics) | result


@dataclass(frozen=True, slots=True)
class _Work:
    """A clip, how it is coded, and where to."""

    open_source: OpenClip
    target: str
    model: LoadedModel
    schedule: Schedule

    def encode(self, goal: RateGoal, progress: ProgressCallback) -> _Done:
        with self.open_source() as clip:
            control, meter = goal.control(self.model, clip.info), goal.meter()
            statistics = encode_clip(
                clip,
                self.target,
                model=self.model,
                control=control,
                schedule=self.schedule,
                progress=progress,
                meter=meter,
            )
        rates = meter.report(statistics.seconds, statistics.video_bits)
        psnr = control.mean if isinstance(control, PsnrControl) else None
        outcome = outcome_of(goal, statistics, rates, psnr)
        return _Done(statistics, outcome, clip.notes, clip.damage)

    def encode_in_passes(self, goal: TotalGoal, progress: ProgressCallback) -> _Done:
        report = encode_in_passes(
            self.open_source,
            self.target,
            model=self.model,
            goal=goal,
            schedule=self.schedule,
            progress=progress,
        )
        outcome = outcome_of(goal, report.statistics, report.rates, None)
        return _Done(report.statistics, outcome, report.notes, report.damage)


def _check_target(target: str) -> None:
    path = Path(target)
    if target == STANDARD or path.suffix.lower() == STREAM_SUFFIX or is_written_through(path):
        return
    raise InvalidSetting("output", got=target, expected=f"a file that ends in {STREAM_SUFFIX}")


def _check_readable_again(source: str) -> None:
    path = Path(source)
    if source == STANDARD or (path.exists() and not (path.is_file() or path.is_dir())):
        raise InvalidSetting("input", got=source, expected="no pipe: it is read several times")


def _raw_format(
    source: str, size: str | None, rate: Fraction | None, pixel_format: PixelFormat
) -> RawFormat | None:
    if size is None:
        if Path(source).suffix in RAW_SUFFIXES:
            raise InvalidSetting("frame size", got=size, expected="given as WxH for raw video")
        return None
    if rate is None:
        raise InvalidSetting("fps", got=rate, expected="given for raw video")
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InvalidSetting("frame size", got=size, expected="WxH in pixels, such as 640x360")
    return RawFormat(FrameSize(int(width), int(height)), rate, pixel_format)
