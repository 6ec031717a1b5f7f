"""`neuvid decode`: a stream to a clip."""

from __future__ import annotations

import sys
from typing import Annotated

import torch
import typer

from neuvid.cli.options import (
    DAMAGE,
    STANDARD,
    Device,
    Json,
    MaxPixels,
    StreamModel,
    Threads,
    check_paths,
)
from neuvid.cli.output import numbers_of, print_json, show_progress, speed_of, summary_of, tell
from neuvid.codec.decoder import MAX_PIXELS
from neuvid.codec.streams import DecodeReport, decode_stream


def decode(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A stream (.nvid), or - for a pipe.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT",
            help="A file: .mp4, .m4v, .mov, .mkv (H.264 that looks the same), .webm (VP9), .y4m or "
            ".yuv; a folder for png pictures; or - for y4m to a pipe.",
        ),
    ],
    seek: Annotated[
        float, typer.Option(help="Begin with the frame so many seconds into the stream.")
    ] = 0,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going",
            help="Write what is intact of a damaged stream; the exit code is then 1.",
        ),
    ] = False,
    model: StreamModel = None,
    device: Device = "cpu",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
) -> None:
    """Decode a stream to a clip."""
    check_paths(source, target)
    if threads:
        torch.set_num_threads(threads)
    with show_progress("Decoding") as progress:
        report = decode_stream(
            source,
            target,
            model=model,
            device=device,
            start=seek,
            keep_going=keep_going,
            max_pixels=max_pixels,
            progress=progress,
        )
    tell(report.notes)
    if json:
        print_json(_numbers(report), sys.stderr if target == STANDARD else sys.stdout)
    else:
        print(f"{target}: {_written(report)}{summary_of(report.statistics)}", file=sys.stderr)
    if report.damage is not None:
        lost = f"lost frames: {report.lost_frames}, the rest is written"
        print(f"neuvid: error: {source} is damaged, {lost}: {report.damage}", file=sys.stderr)
        raise typer.Exit(DAMAGE)


def _written(report: DecodeReport) -> str:
    """Return what to say of frames that were decoded for others and not written."""
    if report.written_frames == report.statistics.frames:
        return ""
    return f"{report.written_frames} frames written of "


def _numbers(report: DecodeReport) -> dict[str, object]:
    result: dict[str, object] = {
        "written_frames": report.written_frames,
        "lost_frames": report.lost_frames,
        "damage": report.damage,
    }
    return numbers_of(report.statistics) | speed_of(report.statistics) | result
