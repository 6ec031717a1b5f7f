"""One HTML page with everything in it: curves, tables and pictures, to be read offline."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any

from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from neuvid.evaluation.bdrate import all_comparisons
from neuvid.evaluation.facts import codec_facts, drift, quality_range
from neuvid.evaluation.jobs import PICTURE_FILE
from neuvid.evaluation.metrics import METRICS
from neuvid.evaluation.page import page_part, write_page
from neuvid.evaluation.results import Curve, Evaluation, Point

MEAN = "Mean of all clips"
PICTURE_LIMIT = 60  # pictures in a page, of all codecs and clips together
SHOWN_BY_FRAME = ("psnr", "vmaf")


def write_report(evaluation: Evaluation, cache: Path, path: Path) -> None:
    """Write the page of an evaluation; its pictures are in the folder `cache`.

    Raises UnwritableOutput.
    """
    page = page_part("page.html")
    data = json.dumps(report_data(evaluation, cache)).replace("<", "\\u003c")
    parts = {
        "STYLE": page_part("page.css"),
        "SCRIPT": page_part("page.js"),
        "PLOTLY": get_plotlyjs(),
        "DATA": data,
    }
    for name, text in parts.items():
        page = page.replace(f"/*{name}*/", text, 1)
    write_page(page, path)


def report_data(evaluation: Evaluation, cache: Path) -> dict[str, Any]:
    """Return what the page's script draws."""
    return {
        "date": evaluation.date,
        "ffmpeg": evaluation.ffmpeg,
        "machine": evaluation.machine,
        "metrics": {
            name: {"label": METRICS[name].label, "unit": METRICS[name].unit}
            for name in evaluation.metrics
        },
        "codecs": evaluation.codecs,
        "clips": [asdict(clip) for clip in evaluation.clips],
        "failures": [asdict(failure) for failure in evaluation.failures],
        "curves": [_curve_data(curve) for curve in evaluation.curves],
        "means": list(_mean_curves(evaluation)),
        "facts": {codec: asdict(codec_facts(evaluation, codec)) for codec in evaluation.codecs},
        "ranges": {
            metric: {codec: quality_range(evaluation, codec, metric) for codec in evaluation.codecs}
            for metric in evaluation.metrics
        },
        "drifts": {
            metric: {codec: drift(evaluation, codec, metric) for codec in evaluation.codecs}
            for metric in evaluation.metrics
        },
        "differences": all_comparisons(evaluation),
        "pictures": _pictures(evaluation, cache),
    }


def _curve_data(curve: Curve) -> dict[str, Any]:
    data = asdict(curve)
    for point in data["points"]:
        by_frame = point["by_frame"]
        point["by_frame"] = {name: by_frame[name] for name in SHOWN_BY_FRAME if name in by_frame}
    return data


def _mean_curves(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Yield the mean curve of each codec that has as many points for every clip."""
    for codec in evaluation.codecs:
        curves = [evaluation.curve(clip.name, codec) for clip in evaluation.clips]
        known = [curve for curve in curves if curve is not None]
        if len(known) < len(curves) or len({len(curve.points) for curve in known}) != 1:
            continue
        columns = zip(*(curve.points for curve in known), strict=True)
        yield {"clip": MEAN, "codec": codec, "points": [_mean_point(list(c)) for c in columns]}


def _mean_point(points: list[Point]) -> dict[str, Any]:
    shared = [name for name in METRICS if all(name in point.metrics for point in points)]
    return {
        "setting": points[0].setting,
        "bits_per_pixel": fmean(point.bits_per_pixel for point in points),
        "metrics": {name: fmean(point.metrics[name] for point in points) for name in shared},
    }


def _pictures(evaluation: Evaluation, cache: Path) -> list[dict[str, Any]]:
    """For each clip, and for some rates: the source, and each codec at the nearest rate."""
    measured = [curve for curve in evaluation.curves if curve.points and curve.points[0].key]
    rates = max(1, PICTURE_LIMIT // max(1, len(measured)))
    entries = []
    for clip in evaluation.clips:
        curves = [curve for curve in measured if curve.clip == clip.name]
        targets = _evenly(curves[0].points, rates) if curves else []
        shown = [[_nearest(curve, target.bits_per_pixel) for curve in curves] for target in targets]
        keys = {point.key for points in shown for point in points}
        entries.append(
            {
                "clip": clip.name,
                "source": _data_url(cache / clip.digest / PICTURE_FILE),
                "files": {key: _data_url(cache / key / PICTURE_FILE) for key in sorted(keys)},
                "codecs": [curve.codec for curve in curves],
                "rates": [[_label(point) for point in points] for points in shown],
            }
        )
    return entries


def _evenly(points: tuple[Point, ...], count: int) -> list[Point]:
    """Choose `count` points of a curve, or all if there are fewer."""
    if count >= len(points):
        return list(points)
    step = len(points) / count
    return [points[int(step * (number + 0.5))] for number in range(count)]


def _nearest(curve: Curve, rate: float) -> Point:
    return min(curve.points, key=lambda point: abs(log(point.bits_per_pixel / rate)))


def _label(point: Point) -> dict[str, Any]:
    names = ("key", "setting", "bits_per_pixel")
    return {name: getattr(point, name) for name in names} | {"psnr": point.metrics["psnr"]}


def _data_url(path: Path) -> str:
    return "data:image/webp;base64," + base64.b64encode(path.read_bytes()).decode()
