"""`neuvid verify`: check a stream."""

from __future__ import annotations

from typing import Annotated

import torch
import typer

from neuvid.cli.options import Device, Json, MaxPixels, StreamModel, Threads
from neuvid.cli.output import numbers_of, print_json, show_progress, tell
from neuvid.codec.decoder import MAX_PIXELS
from neuvid.codec.streams import verify_stream


def verify(
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A stream (.nvid), or - for a pipe.")
    ],
    model: StreamModel = None,
    device: Device = "cpu",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
) -> None:
    """Check all of a stream, and decode it with nothing written.

    The first problem is told, with exit code 2. Where the checkpoint is not at hand, only the
    checksums and the order of the packets are checked.
    """
    if threads:
        torch.set_num_threads(threads)
    with show_progress("Verifying") as progress:
        report = verify_stream(
            source,
            model=model,
            device=device,
            max_pixels=max_pixels,
            progress=progress,
        )
    decoded = report.undecoded is None
    if report.undecoded:
        tell([f"{source} was not decoded: {report.undecoded}"])
    if json:
        print_json(numbers_of(report.statistics) | {"decoded": decoded})
    else:
        what = "all decoded" if decoded else "all checksums are right"
        print(f"{source}: {report.statistics.frames} frames, {what}")
