"""`neuvid import`: published checkpoints to one of neuvid."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from neuvid.errors import InvalidSetting
from neuvid.models.checkpoint import SUFFIX, checkpoint_digest, save_model
from neuvid.models.published import read_published


def import_checkpoint(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT",
            help="The image and the video checkpoint of DCVC-RT or of DCVC-FM.",
        ),
    ],
    target: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="What to write.")],
) -> None:
    """Turn published checkpoints into one of neuvid."""
    if target.suffix != SUFFIX:
        raise InvalidSetting("output", got=str(target), expected=f"a file that ends in {SUFFIX}")
    name, model = read_published(checkpoints)
    sources = ", ".join(path.name for path in checkpoints)
    notes = {"source": f"published checkpoints: {sources}"}
    save_model(target, name, model, notes, dtype=torch.float32)
    print(f"{target}: checkpoint {checkpoint_digest(target).hex()}")
