"""`neuvid eval`: compare codecs through real files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from neuvid.errors import InvalidSetting, UnwritableOutput
from neuvid.evaluation.anchors import Structure
from neuvid.evaluation.bdrate import Delta, difference, mean_of_known
from neuvid.evaluation.codecs import Codec, CodecOptions, Published, find_codec
from neuvid.evaluation.report import write_report
from neuvid.evaluation.results import Evaluation, write_evaluation
from neuvid.evaluation.run import RunOptions, evaluate

CODECS = ["rt-small", "x264:medium", "x265:medium"]
CACHE = Path("~/.cache/neuvid/evaluation")
METRIC = "psnr"


def evaluate_command(
    clips: Annotated[list[Path], typer.Argument(help="Videos, or folders of pictures.")],
    codec: Annotated[
        list[str],
        typer.Option(
            help="A model of neuvid, a checkpoint file, an encoder of ffmpeg with a preset "
            "(x264:medium, x264:veryfast-zerolatency, x265:medium, svtav1:8, libaom:6, "
            "vvenc:fast, kvazaar:medium) or file:POINTS.json. Give it once for each."
        ),
    ] = CODECS,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The page; its numbers go beside it as .json.")
    ] = Path("report.html"),
    frames: Annotated[int | None, typer.Option(min=1, help="Of each clip; else all.")] = None,
    points: Annotated[int, typer.Option(min=1, help="Rates of each codec.")] = 6,
    qualities: Annotated[
        str, typer.Option(help="Qualities of neuvid's models instead, such as 8,24,40,56.")
    ] = "",
    intra_period: Annotated[
        int, typer.Option(help="Frames from one intra frame to the next; -1: only the first.")
    ] = -1,
    random_access: Annotated[
        bool, typer.Option(help="Let encoders of ffmpeg reorder frames and look ahead.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Of each encoder and decoder.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Encodings at once.")] = 1,
    timing: Annotated[
        bool, typer.Option(help="Run encodings alone and keep their seconds.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where neuvid's models run.")] = "cpu",
    cache: Annotated[Path, typer.Option(help="Folder of encodings that are done.")] = CACHE,
) -> None:
    """Encode clips with several codecs at several rates, decode, measure and write a report.

    Encodings that are in the cache are not done again: an interrupted run goes on when the same
    command is given. Ends with status 1 where something could not be measured.
    """
    _check_output(output)
    structure = Structure(intra_period, random_access)
    options = CodecOptions(
        structure=structure, threads=threads, qualities=_numbers(qualities), device=device
    )
    run = RunOptions(
        cache=cache.expanduser(), frames=frames, points=points, jobs=jobs, timing=timing
    )
    codecs = [find_codec(name, options) for name in codec]
    console = Console()
    evaluation = evaluate_with_progress(clips, codecs, run)
    write_evaluation(evaluation, output.with_suffix(".json"))
    write_report(evaluation, run.cache, output)
    console.print(summary_table(evaluation))
    print_failures(evaluation)
    print(f"{output} and {output.with_suffix('.json')}")
    if evaluation.failures:
        raise typer.Exit(1)


def evaluate_with_progress(
    clips: list[Path], codecs: list[Codec | Published], options: RunOptions
) -> Evaluation:
    """Run `evaluate` with a bar on standard error that tells the time left."""
    columns = (
        TextColumn("Encoding"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Encoding")
        return evaluate(
            clips,
            codecs,
            options,
            lambda done, total: bar.update(task, completed=done, total=total),
        )


def summary_table(evaluation: Evaluation) -> Table:
    """Return each codec's range of quality, and its difference in bits from each other one."""
    table = Table(title="Bits at equal PSNR (6Y+U+V)/8, against", title_justify="left", box=SIMPLE)
    table.add_column("", no_wrap=True)
    table.add_column("dB", no_wrap=True)
    for anchor in evaluation.codecs:
        table.add_column(anchor, justify="right", overflow="fold")
    for codec in evaluation.codecs:
        differences = [_difference(evaluation, anchor, codec) for anchor in evaluation.codecs]
        table.add_row(codec, _range(evaluation, codec), *differences)
    return table


def print_failures(evaluation: Evaluation) -> None:
    """Tell on standard error what could not be measured."""
    console = Console(stderr=True)
    for failure in evaluation.failures:
        place = ": ".join(filter(None, (failure.clip, failure.codec)))
        console.print(f"{place}: {failure.reason}", highlight=False, markup=False, soft_wrap=True)


def _check_output(output: Path) -> None:
    """Raise before the work what would be raised after it."""
    if output.suffix != ".html":
        raise InvalidSetting("output", got=str(output), expected="a file that ends in .html")
    if not output.absolute().parent.is_dir():
        raise UnwritableOutput(output, "its folder does not exist")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part)
    except ValueError as error:
        raise InvalidSetting("qualities", got=text, expected="numbers with commas") from error


def _range(evaluation: Evaluation, codec: str) -> str:
    values = [
        point.metrics[METRIC]
        for curve in evaluation.curves
        if curve.codec == codec
        for point in curve.points
        if METRIC in point.metrics
    ]
    return f"{min(values):.1f}–{max(values):.1f}" if values else "–"


def _difference(evaluation: Evaluation, anchor: str, codec: str) -> str:
    if anchor == codec:
        return ""
    deltas: list[Delta] = []
    for clip in evaluation.clips:
        first, second = evaluation.curve(clip.name, anchor), evaluation.curve(clip.name, codec)
        if first and second:
            deltas.append(difference(first, second, METRIC))
    mean, count = mean_of_known(delta.rate for delta in deltas)
    if mean is None:
        return next((delta.refusal for delta in deltas if delta.refusal), "–")
    part = "" if count == len(evaluation.clips) else f" ({count} of {len(evaluation.clips)} clips)"
    return f"{mean:+.1f} %{part}"
