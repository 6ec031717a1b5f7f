"""`neuvid eval`: compare codecs through real files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from neuvid.errors import InvalidSetting, UnwritableOutput
from neuvid.evaluation.anchors import Structure
from neuvid.evaluation.codec import Codec
from neuvid.evaluation.codecs import CodecOptions, find_codecs, read_numbers
from neuvid.evaluation.files import write_evaluation
from neuvid.evaluation.progress import Progress
from neuvid.evaluation.published import Published
from neuvid.evaluation.report import write_report
from neuvid.evaluation.results import Evaluation, Failure
from neuvid.evaluation.run import RunOptions, evaluate
from neuvid.evaluation.summary import summary
from neuvid.models.presets import DEFAULT_MODEL

CODECS = [DEFAULT_MODEL, "x264:medium", "x265:medium"]
CACHE = Path("~/.cache/neuvid/evaluation")
METRIC = "psnr"


def evaluate_command(
    clips: Annotated[list[Path], typer.Argument(help="Videos, or folders of pictures.")],
    codec: Annotated[
        list[str],
        typer.Option(
            help="A model of neuvid, a checkpoint file, an encoder of ffmpeg with a preset "
            "(x264:medium, x264:veryfast-zerolatency, x265:medium, svtav1:8, libaom:6, "
            "vvenc:fast, kvazaar:medium) or file:POINTS.json. Behind it, settings of its own: "
            "x265:medium:intra=32, rt-small:refresh=64, rt-small:bitrate=200,400 (kbit/s). "
            "Give it once for each."
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
        int, typer.Option(help="Frames from one intra frame to the next; -1: only where needed.")
    ] = -1,
    random_access: Annotated[
        bool, typer.Option(help="Let encoders of ffmpeg reorder frames and look ahead.")
    ] = False,
    rgb: Annotated[
        bool, typer.Option(help="Convert clips of 4:2:0 to RGB by BT.709 first, and code that.")
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
    check_output(output)
    structure = Structure(intra_period, random_access)
    options = CodecOptions(
        structure=structure, threads=threads, qualities=qualities_of(qualities), device=device
    )
    run = RunOptions(
        cache=cache.expanduser(),
        frames=frames,
        points=points,
        jobs=jobs,
        timing=timing,
        rgb=rgb,
    )
    codecs, unknown = find_codecs(codec, options)
    print_failures(unknown)
    evaluation = evaluate_with_progress(clips, codecs, run)
    print_failures(evaluation.failures)
    evaluation = replace(evaluation, failures=(*unknown, *evaluation.failures))
    write_evaluation(evaluation, output.with_suffix(".json"))
    write_report(evaluation, run.cache, output)
    print(f"{summary(evaluation, METRIC)}\n\n{output} and {output.with_suffix('.json')}")
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
        TextColumn("{task.fields[left]}"),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Encoding", left="")

        def report(progress: Progress) -> None:
            left = "" if progress.seconds_left is None else _time_left(progress.seconds_left)
            bar.update(task, completed=progress.done, total=progress.total, left=left)

        return evaluate(clips, codecs, options, report)


def print_failures(failures: Iterable[Failure]) -> None:
    """Tell on standard error what could not be measured."""
    console = Console(stderr=True)
    for failure in failures:
        place = ": ".join(filter(None, (failure.clip, failure.codec)))
        console.print(f"{place}: {failure.reason}", highlight=False, markup=False, soft_wrap=True)


def check_output(output: Path) -> None:
    """Raise before the work what would be raised after it."""
    if output.suffix != ".html":
        raise InvalidSetting("output", got=str(output), expected="a file that ends in .html")
    if not output.absolute().parent.is_dir():
        raise UnwritableOutput(output, "its folder does not exist")


def qualities_of(text: str) -> tuple[float, ...]:
    """Return numbers with commas between them, none of an empty text; raise InvalidSetting."""
    try:
        return read_numbers(text) if text else ()
    except ValueError as error:
        raise InvalidSetting("qualities", got=text, expected="numbers with commas") from error


def _time_left(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left"
