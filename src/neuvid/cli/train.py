"""`neuvid train`: train a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from neuvid.cli import STARTED
from neuvid.cli.main import main
from neuvid.errors import NeuvidError
from neuvid.training.recipes import RECIPES, find_recipe


def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help=f"One of: {', '.join(RECIPES)}; or FILE.py:NAME, a recipe of your own."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Training set, made by `neuvid data prepare`.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; one with a checkpoint goes on.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Stop at this step.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="End after this time, with all validated and saved.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Exported weights: take the still-picture model.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Exported weights to begin with.")] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="That share each batch; 0: one for each GPU, or CPU thread.")
    ] = 0,
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads of all processes; 0: one for each core.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 1,
) -> None:
    """Train a model by a recipe; an interrupted run goes on when the same command is given."""
    try:
        from neuvid.training.launch import train as train_recipe
        from neuvid.training.trainer import TrainingOptions
    except ModuleNotFoundError as error:
        raise NeuvidError(f"{error.name} is missing: pip install neuvid[train]") from error
    options = TrainingOptions(
        steps=steps,
        deadline=None if minutes is None else STARTED + 60 * minutes,
        weights=init,
        intra_weights=image,
        threads=threads,
        seed=seed,
    )
    train_recipe(find_recipe(recipe), data, out, options, processes=processes)


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
