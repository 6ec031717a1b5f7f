"""`neuvid models`: what models there are."""

from __future__ import annotations

from neuvid.cli.options import Json
from neuvid.cli.output import print_json, print_rows
from neuvid.models.checkpoint import checkpoint_digest, shipped_weights
from neuvid.models.complexity import measure_complexity
from neuvid.models.presets import PRESETS


def models(json: Json = False) -> None:
    """List the models that neuvid knows by name.

    Multiply-accumulates are those of encoding and rendering a frame, in thousands per pixel; for
    inter frames on each route of the model. The agent is the network by which an encoder may
    foresee rates.
    """
    rows = [_row(name) for name in PRESETS]
    if json:
        print_json({"models": rows})
    else:
        print_rows([{name: _text(value) for name, value in row.items()} for row in rows])


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:.2f}"
    return "no weights" if value is None else str(value)


def _row(name: str) -> dict[str, object]:
    complexity = measure_complexity(PRESETS[name])
    weights = shipped_weights(name)
    return {
        "model": name,
        "image_parameters": complexity.image_parameters,
        "video_parameters": complexity.video_parameters,
        "agent_parameters": complexity.agent_parameters,
        "intra_kmac_per_pixel": sum(complexity.intra.values()),
        "inter_kmac_per_pixel": complexity.inter_totals,
        "agent_kmac_per_pixel": sum(complexity.agent.values()),
        "checkpoint": checkpoint_digest(weights).hex() if weights else None,
    }
