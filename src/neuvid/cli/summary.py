"""`neuvid summary`: the numbers of an evaluation in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuvid.cli.metric import Metric
from neuvid.evaluation.files import read_evaluation
from neuvid.evaluation.summary import summary


def summarise(
    evaluation: Annotated[Path, typer.Argument(help="The .json of an evaluation.")],
    metric: Metric = "psnr",
) -> None:
    """Print each codec's quality, bits against the others, and speed, as a table in Markdown."""
    print(summary(read_evaluation(evaluation), metric))
