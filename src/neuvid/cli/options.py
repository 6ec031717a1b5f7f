"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from neuvid.errors import InvalidSetting

DAMAGE = 1  # exit code where an input is damaged and the rest is kept
STANDARD = "-"  # standard input or output

Device: TypeAlias = Annotated[str, typer.Option(help="Where the networks run: cpu, cuda, ...")]
Threads: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads of the networks.", show_default="number of cores"),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object of numbers.")]
StreamModel: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The stream's checkpoint, where it does not come with neuvid.",
        show_default=False,
    ),
]
MaxPixels: TypeAlias = Annotated[
    int, typer.Option(min=1, help="Refuse a stream whose frames have more pixels.")
]


def check_paths(source: str, target: str) -> None:
    """Raise InvalidSetting where the output would replace the input."""
    if STANDARD in (source, target) or not (Path(source).exists() and Path(target).exists()):
        return
    if Path(source).samefile(target):
        raise InvalidSetting("output", got=target, expected="another file than the input")
