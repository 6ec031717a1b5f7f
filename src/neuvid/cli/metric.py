"""The option of commands that compare by a metric."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from neuvid.errors import InvalidSetting
from neuvid.evaluation.metrics import METRICS


def _known(name: str) -> str:
    if name not in METRICS:
        raise InvalidSetting("metric", got=name, expected=", ".join(METRICS))
    return name


Metric: TypeAlias = Annotated[
    str, typer.Option(callback=_known, help=f"One of: {', '.join(METRICS)}.")
]
