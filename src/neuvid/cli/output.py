"""What commands tell: progress, notes, tables and numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from neuvid.codec.statistics import StreamStatistics

LOG_SECONDS = 60.0  # from one line of progress in a log to the next


@contextmanager
def show_progress(title: str) -> Iterator[Callable[[StreamStatistics], None]]:
    """Show progress as long as the block lasts, whenever what is yielded is called.

    On a terminal it is a bar; else long work prints a line now and then.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _log_progress(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rates]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, rates="")

        def update(done: StreamStatistics) -> None:
            total, rates = done.expected_frames, _rates_of(done)
            bar.update(task, completed=done.frames, total=total, rates=rates)

        yield update


def _log_progress(title: str) -> Callable[[StreamStatistics], None]:
    next_line = monotonic() + LOG_SECONDS

    def update(done: StreamStatistics) -> None:
        nonlocal next_line
        if monotonic() < next_line:
            return
        next_line = monotonic() + LOG_SECONDS
        frames = f"{done.frames} of {done.expected_frames or 'unknown'} frames"
        print(f"neuvid: {title}: {frames}  {_rates_of(done)}", file=sys.stderr, flush=True)

    return update


def _rates_of(done: StreamStatistics) -> str:
    return f"{done.frames_per_second:.1f} fps  {done.bits_per_pixel:.3f} bpp"


def tell(notes: Iterable[str], kind: str = "note") -> None:
    """Print notes, or what else they are, to standard error."""
    for note in notes:
        print(f"neuvid: {kind}:", note, file=sys.stderr)


def print_json(numbers: Mapping[str, object], file: TextIO | None = None) -> None:
    """Print one JSON object, on standard output if no file is given."""
    print(json.dumps(numbers, indent=2), file=file)


def print_values(values: Mapping[str, str]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name:<{width}}  {value if value.isprintable() else ascii(value)}")


def print_rows(rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table; the keys of its rows are the titles of the columns."""
    if not rows:
        return
    lines = [[name.replace("_", " ") for name in rows[0]]]
    lines += [[str(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{text:>{width}}" for text, width in zip(line, widths, strict=True)))


def numbers_of(statistics: StreamStatistics) -> dict[str, object]:
    """Return the numbers of a stream for machines; sizes are in bytes."""
    sizes = {
        "video": statistics.payload_bytes,
        "overhead": statistics.overhead_bytes,
        "passthrough": statistics.passthrough_bytes,
    }
    return {
        "frames": statistics.frames,
        "seconds": statistics.seconds,
        "bytes": sizes | {"total": sum(sizes.values())},
        "bits_per_pixel": statistics.bits_per_pixel,
        "kilobits_per_second": statistics.kilobits_per_second,
    }


def speed_of(statistics: StreamStatistics) -> dict[str, object]:
    """Return how fast the work was, for machines."""
    return {
        "elapsed_seconds": statistics.elapsed_seconds,
        "frames_per_second": statistics.frames_per_second,
    }


def summary_of(statistics: StreamStatistics) -> str:
    """Return one line about a stream for people."""
    return (
        f"{statistics.frames} frames, {statistics.seconds:.2f} s, "
        f"{statistics.bits_per_pixel:.4f} bits per pixel, "
        f"{statistics.kilobits_per_second:.1f} kbit/s; "
        f"{statistics.frames_per_second:.2f} frames per second"
    )
