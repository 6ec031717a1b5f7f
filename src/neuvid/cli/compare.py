"""`neuvid compare`: what changed between two evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from neuvid.cli.metric import Metric
from neuvid.evaluation.changes import Change, changed_facts, changes
from neuvid.evaluation.files import read_evaluation
from neuvid.evaluation.metrics import METRICS


def compare(
    before: Annotated[Path, typer.Argument(help="The .json of an evaluation.")],
    after: Annotated[Path, typer.Argument(help="That of a later one.")],
    metric: Metric = "psnr",
) -> None:
    """Tell what changed between two evaluations, codec by codec and clip by clip."""
    evaluations = read_evaluation(before), read_evaluation(after)
    title = (
        f"{before} to {after}: bits at equal {METRICS[metric].label}, and its gain at equal bits"
    )
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for name in ("clip", "bits", "gain at equal bits", "encode seconds", "decode seconds"):
        table.add_column(name, justify="right")
    for change in changes(*evaluations, metric):
        table.add_row(change.codec, change.clip, *_cells(change))
    console = Console()
    console.print(table)
    for fact in changed_facts(*evaluations):
        console.print(fact, highlight=False, markup=False, soft_wrap=True)


def _cells(change: Change) -> list[str]:
    delta = change.delta
    bits = delta.refusal or f"{delta.rate:+.2f} %"
    gain = "–" if delta.gain is None else f"{delta.gain:+.3f}"
    seconds = (change.encode_seconds, change.decode_seconds)
    return [bits, gain, *("–" if share is None else f"{share:+.1%}" for share in seconds)]
