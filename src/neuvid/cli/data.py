"""`neuvid data`: make training sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

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
    with _needed():
        from neuvid.training.preparation import prepare as prepare_training_set
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
    print(f"{out}: {_contents(items)}")


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="Training set, made by `neuvid data prepare`.")],
    size: Annotated[str, typer.Option(metavar="SIZE", help="At most, such as 40MB.")],
    out: Annotated[
        Path | None, typer.Option(help="The file to write.", show_default="FOLDER.nvset")
    ] = None,
) -> None:
    """Make one compact file of a training set: short clips of all its sources.

    `neuvid train --data` takes the file as it takes the folder.
    """
    with _needed():
        from neuvid.cli.rate import read_size
        from neuvid.training.packing import pack as pack_training_set
    resolved = folder.resolve()
    target = out or resolved.with_name(f"{resolved.name}.nvset")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Encoding")
        clips = pack_training_set(
            folder,
            target,
            size=read_size(size),
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    print(f"{target}: {target.stat().st_size} bytes, {_contents(clips)}")


@contextmanager
def _needed() -> Iterator[None]:
    """Tell how to install what an import needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise NeuvidError(f"{error.name} is missing: pip install neuvid[train]") from error


class _Stored(Protocol):
    @property
    def is_photo(self) -> bool: ...
    @property
    def frames(self) -> int: ...


def _contents(items: Sequence[_Stored]) -> str:
    photos = sum(item.is_photo for item in items)
    frames = sum(item.frames for item in items if not item.is_photo)
    return f"{len(items) - photos} clips of {frames} frames, {photos} photographs"
