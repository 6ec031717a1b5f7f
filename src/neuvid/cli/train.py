"""`neuvid train`: train a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuvid.errors import NeuvidError
from neuvid.training.recipes import RECIPES, find_recipe


def train(
    recipe: Annotated[str, typer.Argument(help=f"One of: {', '.join(RECIPES)}.")],
    data: Annotated[Path, typer.Option(help="Training set, made by `neuvid data prepare`.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; one with a checkpoint goes on.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Stop at this step.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this time.")] = None,
    image: Annotated[
        Path | None, typer.Option(help="Exported weights: take the still-picture model.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Exported weights to begin with.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: as PyTorch does.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 1,
) -> None:
    """Train a model by a recipe; an interrupted run goes on when the same command is given."""
    try:
        from neuvid.training.trainer import Trainer, TrainingOptions
    except ModuleNotFoundError as error:
        raise NeuvidError(f"{error.name} is missing: pip install neuvid[train]") from error
    options = TrainingOptions(
        steps=steps,
        minutes=minutes,
        weights=init,
        intra_weights=image,
        threads=threads,
        seed=seed,
    )
    Trainer(find_recipe(recipe), data, out, options).train()


if __name__ == "__main__":
    typer.run(train)
