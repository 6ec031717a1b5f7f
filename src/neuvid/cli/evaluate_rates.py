"""`neuvid eval-rate`: how well bit rates are held."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from neuvid.cli.evaluate import CACHE, check_output, print_failures, qualities_of
from neuvid.codec.goals import BitrateController, check_controller, controllers_of
from neuvid.errors import InvalidSetting
from neuvid.evaluation.rate_page import table_of, write_rate_page
from neuvid.evaluation.rate_runs import RateEvaluationOptions, evaluate_rates, runs_of
from neuvid.evaluation.rates import RateRun, summarise
from neuvid.evaluation.results import Failure
from neuvid.evaluation.summary import markdown_table
from neuvid.models.checkpoint import load_model
from neuvid.models.presets import DEFAULT_MODEL
from neuvid.outputs import replacing

FORMAT = "neuvid-rates-1"
QUALITIES = "16,32,48"


def evaluate_rates_command(
    clips: Annotated[list[Path], typer.Argument(help="Videos, or folders of pictures.")],
    model: Annotated[str, typer.Option(help="A preset or a checkpoint file.")] = DEFAULT_MODEL,
    controller: Annotated[
        list[BitrateController] | None,
        typer.Option(
            help="Who holds the rates; give it again for each.", show_default="all that can"
        ),
    ] = None,
    qualities: Annotated[
        str, typer.Option(help="The targets are the rates of these constant qualities.")
    ] = QUALITIES,
    frames: Annotated[int | None, typer.Option(min=1, help="Of each clip; else all.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The page; its numbers go beside it as .json.")
    ] = Path("rates.html"),
    cache: Annotated[Path, typer.Option(help="Folder of encodings that are done.")] = CACHE,
) -> None:
    """Measure how bit rates are held.

    Clips are coded by neuvid with its own controller and those of the papers, and by encoders of
    ffmpeg at constant bit rate. Prints a table in Markdown. The page draws, on the first clip, bits
    per frame against targets that fluctuate (figure 4 of DCVC-FM) and mean bits so far against
    constant ones (figure 7 of DynamicDVC). Encodings that are in the cache are not done again. Ends
    with status 1 where an encoder failed.
    """
    check_output(output)
    chosen = qualities_of(qualities)
    if not chosen:
        raise InvalidSetting("qualities", got=qualities, expected="numbers with commas")
    loaded = load_model(model)
    for each in controller or ():
        check_controller(each, loaded)
    options = RateEvaluationOptions(
        model=model,
        controllers=tuple(dict.fromkeys(controller or controllers_of(loaded))),
        qualities=chosen,
        frames=frames,
        cache=cache.expanduser(),
    )
    runs, failures = _evaluate(clips, options)
    print_failures(dict.fromkeys(failures))
    summaries = summarise(runs)
    content = {"format": FORMAT, "runs": runs, "summaries": summaries}
    numbers = output.with_suffix(".json")
    with replacing(numbers) as file:
        file.write(f"{json.dumps(content, default=asdict, indent=1)}\n".encode())
    write_rate_page(runs, output)
    print(markdown_table(*table_of(summaries)))
    print(f"{output} and {numbers}")
    if failures:
        raise typer.Exit(1)


def _evaluate(
    clips: list[Path], options: RateEvaluationOptions
) -> tuple[list[RateRun], list[Failure]]:
    columns = (
        TextColumn("Encoding"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[last]}"),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Encoding", total=runs_of(len(clips), options), last="")

        def told(run: RateRun) -> None:
            bar.update(task, advance=1, last=f"{run.clip} {run.codec}")

        return evaluate_rates(clips, options, told)
