"""`neuvid data`: make training sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from neuvid.errors import NeuvidError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Make training sets.")


@app.callback()
def data() -> None:
    """Make training sets."""


@app.command()
def prepare(
    folders: Annotated[list[Path], typer.Argument(help="Folders of videos and photographs.")],
    out: Annotated[Path, typer.Option(help="Folder of the training set.")],
    height: Annotated[
        int, typer.Option(help="Scale videos down to this short side, in pixels.")
    ] = 288,
) -> None:
    """Make a training set of all videos, photographs and Vimeo-90k sequences in folders."""
    try:
        from neuvid.training.preparation import prepare as prepare_training_set
    except ModuleNotFoundError as error:
        raise NeuvidError(f"{error.name} is missing: pip install neuvid[train]") from error
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Reading")
        items, skipped = prepare_training_set(
            folders,
            out,
            height=height,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    for name, reason in skipped.items():
        console.print(f"skipped {name}: {reason}", highlight=False, soft_wrap=True)
    photos = sum(item.is_photo for item in items)
    frames = sum(item.frames for item in items if not item.is_photo)
    clips = len(items) - photos
    print(f"{out}: {clips} clips of {frames} frames, {photos} photographs")
