"""Evaluations as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from neuvid.errors import UnreadableInput
from neuvid.evaluation.bdrate import all_comparisons
from neuvid.evaluation.metrics import METRICS
from neuvid.evaluation.results import ClipFacts, Conditions, Curve, Evaluation, Failure, Point
from neuvid.outputs import replacing

FORMAT = "neuvid-evaluation-1"
DIFFERENCES = "differences"  # follow from the curves: written for other programs, never read


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write an evaluation as JSON, with the differences between all codecs by all metrics.

    Raises UnwritableOutput.
    """
    content = {"format": FORMAT} | asdict(evaluation)
    text = json.dumps(content | {DIFFERENCES: all_comparisons(evaluation)}, indent=1)
    with replacing(path) as file:
        file.write(f"{text}\n".encode())


def read_evaluation(path: Path) -> Evaluation:
    """Read what `write_evaluation` wrote; raise UnreadableInput."""
    content = read_json(path)
    if content.pop("format", None) != FORMAT:
        raise UnreadableInput(path, f'its "format" is not {FORMAT}')
    content.pop(DIFFERENCES, None)
    try:
        content["clips"] = _records(ClipFacts, content["clips"])
        content["curves"] = tuple(curve_from(entry) for entry in content["curves"])
        content["failures"] = _records(Failure, content["failures"])
        return Evaluation(**content)
    except (KeyError, TypeError, AttributeError) as error:
        raise UnreadableInput(path, f"a field is missing or unknown ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise UnreadableInput."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableInput(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise UnreadableInput(path, f"it is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UnreadableInput(path, "it is not a JSON object")
    return content


def curve_from(entry: dict[str, Any]) -> Curve:
    """Return the curve of a JSON object; raise TypeError or KeyError where it is none."""
    conditions = Conditions(**entry["conditions"])
    points = tuple(map(checked_point, _records(Point, entry["points"])))
    if not points:
        raise TypeError(f"no points of clip {entry.get('clip')}")
    return Curve(**entry | {"conditions": conditions, "points": points})


def checked_point(point: Point) -> Point:
    """Return the point; raise TypeError where its rate or metrics are no numbers of their kind."""
    if not set(point.metrics) <= set(METRICS):
        raise TypeError(f"point {point.setting}: metrics must be of {', '.join(METRICS)}")
    if not all(map(isfinite, point.metrics.values())) or not 0 < point.bits_per_pixel < float(
        "inf"
    ):
        raise TypeError(f"point {point.setting}: rates and metrics must be finite, rates above 0")
    return point


Record = TypeVar("Record")


def _records(kind: type[Record], entries: Iterable[Mapping[str, Any]]) -> tuple[Record, ...]:
    return tuple(kind(**entry) for entry in entries)
