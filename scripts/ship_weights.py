"""Makes the weights that come with the package from whole checkpoints.

    python scripts/ship_weights.py fm.safetensors rt.safetensors dynamic.safetensors \
        --out src/neuvid/weights

Each becomes the file of its preset there. All must have the same still-picture model, which is
kept as it is where it is there already. The same checkpoints give the same files, byte for byte.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from neuvid.errors import NeuvidError
from neuvid.models.checkpoint import ship_checkpoint


def main(
    checkpoints: Annotated[list[Path], typer.Argument(help="Exported weights.")],
    out: Annotated[Path, typer.Option(help="Folder of the weights.")],
) -> None:
    """Write the weights of the package."""
    try:
        for path in checkpoints:
            ship_checkpoint(path, out)
    except NeuvidError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    typer.run(main)
