"""Points that others published are read as what they are, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from evaluations import FRAMES, OPTIONS, X264, moving_file

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.evaluation.bdrate import difference
from neuvid.evaluation.codecs import find_codec
from neuvid.evaluation.published import POINTS_FORMAT, Published
from neuvid.evaluation.run import RunOptions, evaluate

RATES, VALUES = (0.1, 0.2, 0.4, 0.8), (30.0, 33.0, 35.5, 38.0)
CONDITIONS = {
    "delay": "low delay",
    "intra_period": -1,
    "frames": FRAMES,
    "size": "96x64",
    "pixel_format": "yuv420p",
}


def own_points(**conditions: object) -> dict[str, Any]:
    points = [
        {"setting": f"QP {number}", "bits_per_pixel": rate, "metrics": {"psnr": value}}
        for number, (rate, value) in enumerate(zip(RATES, VALUES, strict=True))
    ]
    curve = {"clip": "moving", "conditions": CONDITIONS | conditions, "points": points}
    return {"format": POINTS_FORMAT, "name": "VTM", "source": "a paper", "curves": [curve]}


def dcvc_points(planes: bool) -> dict[str, Any]:
    """Points as the DCVC authors write them: data set, sequence, quantiser."""
    encodings = {}
    for number, (rate, value) in enumerate(zip(RATES, VALUES, strict=True)):
        entry = {
            "frame_pixel_num": 96 * 64,
            "i_frame_num": 1,
            "p_frame_num": FRAMES - 1,
            "ave_all_frame_bpp": rate,
            "ave_all_frame_psnr": value,
            "qp": 40 - number,
        }
        if planes:
            entry |= {f"ave_all_frame_psnr_{plane}": value for plane in "yuv"}
        encodings[f"{40 - number:03}"] = entry
    return {"Set": {"moving_96x64_25fps.yuv": dict(reversed(encodings.items()))}}


def write(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return f"file:{path}"


@pytest.mark.parametrize(("frames", "refused"), [(FRAMES, False), (96, True)])
def test_points_are_matched_by_clip(frames: int, refused: bool, tmp_path: Path) -> None:
    points = find_codec(write(tmp_path / "points.json", own_points(frames=frames)), OPTIONS)
    clips = [moving_file(tmp_path / name) for name in ("moving.y4m", "other.y4m")]
    run = evaluate(clips, [points, X264], RunOptions(cache=tmp_path / "cache", points=4))
    curves = [run.curve("moving", name) for name in ("VTM", X264.name)]
    assert curves[0] and curves[1]
    assert curves[0].rates() == list(RATES)
    reason = difference(curves[0], curves[1], "psnr").refusal or ""
    assert reason.startswith("not comparable: frames") == refused
    assert [(f.clip, f.codec, f.reason) for f in run.failures] == [
        ("other", "VTM", "no points of this clip")
    ]


@pytest.mark.parametrize("planes", [True, False])
def test_points_of_the_dcvc_authors(planes: bool, tmp_path: Path) -> None:
    text = write(tmp_path / "vtm.json", dcvc_points(planes)) + ":intra=32"
    codec = find_codec(text, OPTIONS)
    assert isinstance(codec, Published)
    assert codec.name == "vtm:intra=32"
    curve = codec.curves["moving_96x64_25fps"]
    assert curve.codec == codec.name
    assert curve.rates() == list(RATES)
    assert curve.points[0].setting == "QP 40"
    conditions = curve.conditions
    assert (conditions.intra_period, conditions.frames, conditions.size) == (32, FRAMES, "96x64")
    assert conditions.pixel_format == ("yuv420p" if planes else "rgb24")
    assert curve.values("psnr" if planes else "psnr_rgb") == list(VALUES)
    assert curve.values("psnr_v") == (list(VALUES) if planes else None)


def test_conditions_are_told_once(tmp_path: Path) -> None:
    text = write(tmp_path / "points.json", own_points()) + ":intra=32"
    with pytest.raises(InvalidSetting, match="the file has them"):
        find_codec(text, OPTIONS)


def broken(key: str, value: object) -> dict[str, Any]:
    content = own_points()
    content["curves"][0]["points"][0][key] = value
    return content


@pytest.mark.parametrize(
    "content",
    [
        "text",
        {},
        {"format": POINTS_FORMAT, "name": "VTM"},
        broken("bits_per_pixel", 0),
        broken("bits_per_pixel", "many"),
        broken("metrics", {"psnr": float("nan")}),
        broken("metrics", {"psnr": "good"}),
        broken("metrics", {"beauty": 3}),
        broken("colour", "red"),
        {"Set": {"moving.yuv": next(iter(dcvc_points(True)["Set"].values()))}},
        {"Set": {"moving_96x64.yuv": {}}},
        {"Set": 3},
    ],
    ids=str,
)
def test_what_holds_no_points_is_refused(content: object, tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match=r"points\.json"):
        find_codec(write(tmp_path / "points.json", content), OPTIONS)
