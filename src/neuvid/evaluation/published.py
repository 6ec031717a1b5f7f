"""Curves that others published: in neuvid's own format, or in that of the DCVC authors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.evaluation.anchors import Structure
from neuvid.evaluation.files import checked_point, curve_from, read_json
from neuvid.evaluation.results import Conditions, Curve, Point
from neuvid.video.frame import PixelFormat

POINTS_FORMAT = "neuvid-points-1"
SIZE = re.compile(r"(\d+)x(\d+)")  # in the name of a sequence


@dataclass(frozen=True, slots=True)
class Published:
    """Curves that others published; `curves` by the clip's name."""

    name: str
    curves: dict[str, Curve]


def read_published(path: Path, structure: Structure, settings: str) -> Published:
    """Read points in neuvid's format or in that of the DCVC authors.

    The latter does not tell how frames refer to each other: `structure` says it, and `settings`
    are those that the codec's name tells. Raises UnreadableInput, and InvalidSetting where both
    the file and `settings` tell it.
    """
    content = read_json(path)
    is_own = content.get("format") == POINTS_FORMAT
    if is_own and settings:
        raise InvalidSetting(
            f"settings of {path}", got=settings, expected="none: the file has them"
        )
    try:
        if is_own:
            name, curves = content["name"], list(_own_curves(content))
        else:
            name = path.stem + settings
            curves = list(_dcvc_curves(content, name, structure))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"it holds no rate points, or a field is missing or unknown ({error})"
        raise UnreadableInput(path, reason) from error
    if not curves:
        raise UnreadableInput(path, "it holds no rate points")
    return Published(name, {curve.clip: curve for curve in curves})


def _own_curves(content: dict[str, Any]) -> Iterator[Curve]:
    common = {"codec": content["name"], "version": content["source"], "threads": None}
    for entry in content["curves"]:
        yield curve_from(common | entry)


def _dcvc_curves(content: dict[str, Any], name: str, structure: Structure) -> Iterator[Curve]:
    """Data set, sequence and quantiser: the means over all frames of each encoding."""
    for sequences in content.values():
        for sequence, encodings in sequences.items():
            points = map(_dcvc_point, encodings.values())
            yield Curve(
                clip=Path(sequence).stem,
                codec=name,
                version=f"published: {name}",
                conditions=_dcvc_conditions(sequence, encodings, structure),
                threads=None,
                points=tuple(sorted(points, key=lambda point: point.bits_per_pixel)),
            )


def _dcvc_point(encoding: dict[str, Any]) -> Point:
    quality = encoding["ave_all_frame_psnr"]
    planes = {f"psnr_{plane}": encoding.get(f"ave_all_frame_psnr_{plane}") for plane in "yuv"}
    in_rgb = None in planes.values()
    metrics: dict[str, Any] = {"psnr_rgb": quality} if in_rgb else planes | {"psnr": quality}
    return checked_point(
        Point(
            setting=f"QP {encoding['qp']}",
            bits_per_pixel=encoding["ave_all_frame_bpp"],
            metrics=metrics,
        )
    )


def _dcvc_conditions(
    sequence: str, encodings: dict[str, dict[str, Any]], structure: Structure
) -> Conditions:
    (frames,) = {entry["i_frame_num"] + entry["p_frame_num"] for entry in encodings.values()}
    (pixels,) = {entry["frame_pixel_num"] for entry in encodings.values()}
    sizes = [(int(match[1]), int(match[2])) for match in SIZE.finditer(sequence)]
    size = next((f"{width}x{height}" for width, height in sizes if width * height == pixels), None)
    if size is None:
        raise ValueError(f"{sequence} does not tell a size of {pixels} pixels")
    planes = all("ave_all_frame_psnr_y" in entry for entry in encodings.values())
    return Conditions(
        delay=structure.delay,
        intra_period=structure.intra_period,
        frames=frames,
        size=size,
        pixel_format=(PixelFormat.YUV420 if planes else PixelFormat.RGB).value,
    )
