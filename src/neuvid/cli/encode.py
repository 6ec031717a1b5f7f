"""`neuvid encode`: a clip to a stream."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import torch
import typer

from neuvid.choice import QUALITIES
from neuvid.cli.options import STANDARD, Device, Json, Threads, check_paths
from neuvid.cli.output import numbers_of, print_json, show_progress, speed_of, summary_of, tell
from neuvid.codec.clips import encode_clip
from neuvid.codec.schedule import Schedule
from neuvid.errors import InvalidSetting
from neuvid.models.checkpoint import Arithmetic, load_model
from neuvid.rate.controller import FixedQuality
from neuvid.video.clip import PICTURE_RATE, RawFormat, open_clip
from neuvid.video.frame import FrameSize, PixelFormat

STREAM_SUFFIX = ".nvid"
RAW_SUFFIXES = (".yuv", ".rgb")
MAX_RATE = 10_000  # frames per second
RATE_DENOMINATOR = 1001  # of 24000/1001 and its like


def encode(
    source: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A video, a folder of pictures, or - for a pipe."),
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="A file that ends in .nvid, or - for a pipe.")
    ],
    model: Annotated[str, typer.Option(help="A preset or a checkpoint file.")] = "rt-small",
    qp: Annotated[
        float,
        typer.Option(help=f"Quality, 0 (fewest bits) to {QUALITIES - 1}, in steps of a quarter."),
    ] = 32,
    intra_period: Annotated[
        int, typer.Option(help="Frames from one intra frame to the next; -1: only where needed.")
    ] = -1,
    scene_cuts: Annotated[
        bool, typer.Option(help="Code a scene cut as an intra frame where that is cheaper.")
    ] = True,
    refresh: Annotated[
        int | None,
        typer.Option(
            help="Frames from one restart of the carried features to the next; 0: none.",
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
    size: Annotated[
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
            help="integer decodes on every machine, float32 only on one like this.",
            show_default="integer where the model has it",
        ),
    ] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Encode a clip to a stream (.nvid).

    Sound and subtitles are kept as they are. Raw video needs --size and --fps.
    """
    check_paths(source, target)
    if target != STANDARD and Path(target).suffix != STREAM_SUFFIX:
        raise InvalidSetting("output", got=target, expected=f"a file that ends in {STREAM_SUFFIX}")
    rate = _frame_rate(fps)
    raw = _raw_format(source, size, rate, pixel_format)
    control, schedule = FixedQuality(qp, route), Schedule(intra_period, scene_cuts, refresh)
    if threads:
        torch.set_num_threads(threads)
    loaded = load_model(model, device=device, arithmetic=arithmetic)
    with (
        open_clip(
            source,
            raw=raw,
            start=start,
            frames=frames,
            picture_rate=rate or PICTURE_RATE,
            passthrough=True,
        ) as clip,
        show_progress("Encoding") as progress,
    ):
        statistics = encode_clip(
            clip, target, model=loaded, control=control, schedule=schedule, progress=progress
        )
        tell(clip.notes)
    if json:
        numbers = numbers_of(statistics) | speed_of(statistics)
        print_json(numbers, sys.stderr if target == STANDARD else sys.stdout)
    else:
        print(f"{target}: {summary_of(statistics)}", file=sys.stderr)


def _raw_format(
    source: str, size: str | None, rate: Fraction | None, pixel_format: PixelFormat
) -> RawFormat | None:
    if size is None:
        if Path(source).suffix in RAW_SUFFIXES:
            raise InvalidSetting("size", got=size, expected="given as WxH for raw video")
        return None
    if rate is None:
        raise InvalidSetting("fps", got=rate, expected="given for raw video")
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InvalidSetting("size", got=size, expected="WxH in pixels, such as 640x360")
    return RawFormat(FrameSize(int(width), int(height)), rate, pixel_format)


def _frame_rate(text: str | None) -> Fraction | None:
    """Read a number such as 25, 29.97 or 30000/1001."""
    if text is None:
        return None
    try:
        rate = Fraction(text).limit_denominator(RATE_DENOMINATOR)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= MAX_RATE:
        raise InvalidSetting("fps", got=text, expected=f"above 0, up to {MAX_RATE}")
    return rate
