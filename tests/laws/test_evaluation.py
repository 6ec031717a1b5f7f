"""Evaluations are beyond reproach: metrics, rates, differences, caching and refusals."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import moving_frames, moving_info

from neuvid.cli.main import main
from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.evaluation.anchors import FAMILIES, FfmpegCodec, Structure
from neuvid.evaluation.bdrate import difference
from neuvid.evaluation.codecs import PUBLISHED_FORMAT, CodecOptions, Published, find_codec
from neuvid.evaluation.ffmpeg import ffmpeg_path, raw_input, run_ffmpeg
from neuvid.evaluation.metrics import EXACT_PSNR, METRICS, measure, plane_psnr
from neuvid.evaluation.report import write_report
from neuvid.evaluation.results import (
    Evaluation,
    average_metrics,
    read_evaluation,
    write_evaluation,
)
from neuvid.evaluation.run import RunOptions, evaluate
from neuvid.evaluation.source import RawClip, extract_clip
from neuvid.models.checkpoint import save_model
from neuvid.models.presets import RT_SMALL, build_model
from neuvid.training.initialisation import initialise
from neuvid.video.clip import create_clip, open_clip
from neuvid.video.frame import PixelFormat

FRAMES = 6
OPTIONS = CodecOptions(structure=Structure())
X264 = find_codec("x264:ultrafast", OPTIONS)
RATES, VALUES = (0.1, 0.2, 0.4, 0.8), (30.0, 33.0, 35.5, 38.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "moving.y4m"
    info = moving_info((96, 64))
    with create_clip(path, info) as writer:
        for frame in moving_frames(info, FRAMES):
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def raw_clip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> RawClip:
    return extract_clip(clip, tmp_path_factory.mktemp("raw"), None)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    network = build_model(RT_SMALL)
    initialise(network)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_model(path, "rt-small", network, {})
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def evaluation(clip: Path, checkpoint: Path, cache: Path) -> Evaluation:
    """Our codec beside x264, at four rates each."""
    codecs = [find_codec(str(checkpoint), OPTIONS), X264]
    return evaluate([clip], codecs, RunOptions(cache=cache, points=4))


def decoded_by_x264(raw: RawClip, folder: Path) -> Path:
    codec = FfmpegCodec("x264", "ultrafast", Structure(), 1)
    codec.encode(raw, 35, folder / "stream.264")
    codec.decode(raw, folder / "stream.264", folder / "decoded.yuv")
    return folder / "decoded.yuv"


def test_psnr_is_that_of_ffmpeg(raw_clip: RawClip, tmp_path: Path) -> None:
    decoded = decoded_by_x264(raw_clip, tmp_path)
    inputs = [*raw_input(decoded, raw_clip.format), *raw_input(raw_clip.path, raw_clip.format)]
    run_ffmpeg([*inputs, "-lavfi", "psnr=stats_file=log", "-f", "null", "-"], tmp_path)
    measured = measure(raw_clip, decoded)
    for plane in "yuv":
        expected = re.findall(rf"psnr_{plane}:(\S+)", (tmp_path / "log").read_text())
        assert measured[f"psnr_{plane}"] == pytest.approx([float(e) for e in expected], abs=0.01)
    for y, u, v, all_planes in zip(
        *(measured[f"psnr{p}"] for p in ("_y", "_u", "_v", "")), strict=True
    ):
        assert all_planes == pytest.approx((6 * y + u + v) / 8, abs=1e-4)


def test_means_are_over_frames(raw_clip: RawClip, tmp_path: Path) -> None:
    by_frame = measure(raw_clip, decoded_by_x264(raw_clip, tmp_path))
    assert set(by_frame) == set(METRICS) - {"ms_ssim"}  # too small for five scales
    assert all(len(values) == FRAMES for values in by_frame.values())
    means = average_metrics(by_frame)
    assert means["psnr_y"] == pytest.approx(np.mean(by_frame["psnr_y"]), abs=1e-4)


def test_exact_planes_have_the_highest_psnr(raw_clip: RawClip) -> None:
    measured = measure(raw_clip, raw_clip.path)
    assert set(measured["psnr"]) == set(measured["psnr_rgb"]) == {EXACT_PSNR}
    one_off = np.zeros((1000, 1000), np.uint8)
    one_off[0, 0] = 1
    assert plane_psnr(one_off, np.zeros_like(one_off)) > EXACT_PSNR


def test_decoded_frames_must_fit(raw_clip: RawClip, tmp_path: Path) -> None:
    (tmp_path / "short.yuv").write_bytes(raw_clip.path.read_bytes()[: -raw_clip.format.frame_bytes])
    with pytest.raises(UnreadableInput, match=f"{FRAMES - 1} frames of 96x64; the clip has"):
        measure(raw_clip, tmp_path / "short.yuv")


@pytest.mark.parametrize("period", [-1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_other_codecs_keep_the_structure(
    family: str, period: int, raw_clip: RawClip, tmp_path: Path
) -> None:
    """Intra frames stand where the period says; all frames come back in order, at their size."""
    preset = {"svtav1": "10", "libaom": "8", "vvenc": "faster"}.get(family, "ultrafast")
    codec = FfmpegCodec(family, preset, Structure(period), 1)
    stream, decoded = tmp_path / f"stream{codec.suffix}", tmp_path / "decoded.yuv"
    codec.encode(raw_clip, 30, stream)
    codec.decode(raw_clip, stream, decoded)
    assert min(measure(raw_clip, decoded)["psnr_y"]) > 25
    shown = ["-i", str(stream), "-vf", "showinfo", "-f", "null", "-"]
    log = subprocess.run([ffmpeg_path(), *shown], capture_output=True, text=True, check=True).stderr
    kinds = re.findall(r" type:(\w)", log)
    expected = [number == 0 or (period > 0 and number % period == 0) for number in range(FRAMES)]
    assert [kind == "I" for kind in kinds] == expected


def test_random_access_reorders(raw_clip: RawClip, tmp_path: Path) -> None:
    low_delay, random_access = (
        FfmpegCodec("x264", "medium", Structure(random_access=random), 1)
        for random in (False, True)
    )
    kinds = {}
    for codec in (low_delay, random_access):
        codec.encode(raw_clip, 30, tmp_path / "stream.264")
        with open_clip(tmp_path / "stream.264") as frames:
            assert len(list(frames)) == FRAMES
        shown = ["-i", str(tmp_path / "stream.264"), "-vf", "showinfo", "-f", "null", "-"]
        log = subprocess.run([ffmpeg_path(), *shown], capture_output=True, text=True, check=True)
        kinds[codec.structure.delay] = set(re.findall(r" type:(\w)", log.stderr))
    assert kinds == {"low delay": {"I", "P"}, "random access": {"I", "P", "B"}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"delay": "random access"}, "delay low delay against random access"),
        ({"intra_period": 32}, "intra period -1 against 32"),
        ({"frames": 7}, "frames 6 against 7"),
        ({"pixel_format": "rgb24"}, "pixel format"),
    ],
)
def test_other_conditions_are_refused(
    evaluation: Evaluation, change: dict[str, object], reason: str
) -> None:
    curve = evaluation.curve("moving", X264.name)
    assert curve
    other = replace(curve, conditions=replace(curve.conditions, **change))  # type: ignore[arg-type]
    assert reason in str(difference(curve, other, "psnr").refusal)
    assert difference(curve, curve, "psnr").rate == pytest.approx(0)


def test_bits_are_those_of_the_files(evaluation: Evaluation, cache: Path) -> None:
    assert not evaluation.failures
    for curve in evaluation.curves:
        assert len(curve.points) == 4
        for point in curve.points:
            (stream,) = (cache / point.key).glob("stream.*")
            assert point.file_bytes == stream.stat().st_size
            assert point.bits_per_pixel == pytest.approx(
                8 * stream.stat().st_size / (96 * 64 * FRAMES)
            )
            assert point.encode_seconds is None  # this was no timing run


def test_the_file_that_was_measured_decodes_to_what_was_measured(
    evaluation: Evaluation, raw_clip: RawClip, checkpoint: Path, cache: Path, tmp_path: Path
) -> None:
    curve = evaluation.curve("moving", "untrained")
    assert curve
    point = curve.points[-1]
    stream, decoded = cache / point.key / "stream.nvid", tmp_path / "decoded.yuv"
    assert main(["decode", str(stream), str(decoded), "--model", str(checkpoint)]) == 0
    assert measure(raw_clip, decoded) == point.by_frame
    assert 0 < (point.container_bytes or 0) < (point.file_bytes or 0)


def test_results_survive_their_file(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation(evaluation, tmp_path / "a.json")
    assert read_evaluation(tmp_path / "a.json") == evaluation
    for text in ("", "[]", "{}", '{"format": "neuvid-evaluation-1"}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(UnreadableInput):
            read_evaluation(tmp_path / "bad.json")


def test_an_interrupted_run_goes_on(clip: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    options = RunOptions(cache=tmp_path, points=4)
    with pytest.raises(KeyboardInterrupt):
        evaluate([clip], [X264], options, interrupt)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/stream.264")}
    whole = evaluate([clip], [X264], options)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/stream.264")}
    assert len(before) == 2
    assert len(after) == 4
    assert before.items() <= after.items()
    assert evaluate([clip], [X264], options).curves == whole.curves
    assert after == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/stream.264")}


def test_another_setting_is_another_encoding(clip: Path, tmp_path: Path) -> None:
    keys = set()
    settings = [Structure(), Structure(4), Structure(random_access=True)]
    for frames in (FRAMES, 3):
        for structure in settings:
            codec = FfmpegCodec("x264", "ultrafast", structure, 1)
            run = evaluate([clip], [codec], RunOptions(cache=tmp_path, points=1, frames=frames))
            keys.add(run.curves[0].points[0].key)
    assert len(keys) == 6


def test_processes_find_the_same_and_timing_alone_keeps_seconds(clip: Path, tmp_path: Path) -> None:
    alone = evaluate([clip], [X264], RunOptions(cache=tmp_path / "a", points=2, timing=True))
    together = evaluate([clip], [X264], RunOptions(cache=tmp_path / "b", points=2, jobs=2))
    pairs = zip(alone.curves[0].points, together.curves[0].points, strict=True)
    for timed, untimed in pairs:
        assert timed.metrics == untimed.metrics
        assert timed.file_bytes == untimed.file_bytes
        assert (timed.encode_seconds or 0) > 0
        assert untimed.encode_seconds is None
    again = evaluate([clip], [X264], RunOptions(cache=tmp_path / "b", points=2, timing=True))
    assert all(point.decode_seconds for point in again.curves[0].points)
    with pytest.raises(InvalidSetting, match="jobs"):
        RunOptions(cache=tmp_path, jobs=2, timing=True)


def test_what_fails_is_named_and_the_rest_is_kept(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that is none, a clip that a codec cannot code, and an ffmpeg without an encoder."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    coloured = tmp_path / "coloured"
    info = moving_info((96, 64), pixel_format=PixelFormat.RGB)
    with create_clip(coloured, info) as writer:
        for frame in moving_frames(info, 2):
            writer.write(frame)
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\n"{ffmpeg_path()}" "$@" | sed s/libx265/missing/\n')
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    codecs = [X264, find_codec("x265:ultrafast", OPTIONS)]
    run = evaluate([broken, coloured, clip], codecs, RunOptions(cache=tmp_path / "c", points=1))
    reasons = {(failure.clip, failure.codec): failure.reason for failure in run.failures}
    assert "cannot read" in reasons["broken.mp4", ""]
    assert "rgb24" in reasons["coloured", "x264:ultrafast"]
    assert "one with the encoder libx265" in reasons["moving", "x265:ultrafast"]
    assert [(curve.clip, curve.codec) for curve in run.curves] == [("moving", "x264:ultrafast")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x263:medium", "codec is 'x263:medium'"),
        ("x264", "x264:PRESET"),
        ("x264:warp", "preset of x264 is 'warp'"),
        ("svtav1:99", "preset of svtav1"),
        ("file:missing.json", "cannot read missing.json"),
        ("missing.safetensors", "cannot read missing.safetensors"),
    ],
)
def test_unknown_codecs_are_named(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "clip.mp4", "--codec", name]) == 2
    assert message in capsys.readouterr().err


def test_our_codec_keeps_its_structure(checkpoint: Path) -> None:
    options = CodecOptions(structure=Structure(32, random_access=True))
    for name, random_access in ((str(checkpoint), False), ("x264:medium", True)):
        codec = find_codec(name, options)
        assert not isinstance(codec, Published)
        assert codec.structure == Structure(32, random_access)


@pytest.mark.parametrize("output", ["numbers.json", "nowhere/report.html"])
def test_an_output_that_cannot_be_is_refused_before_the_work(
    output: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    assert main(["eval", str(clip), "--cache", str(cache), "-o", str(tmp_path / output)]) == 2
    assert output in capsys.readouterr().err
    assert not cache.exists()


def test_names_must_differ(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="codec names"):
        evaluate([clip], [X264, X264], RunOptions(cache=tmp_path))


def published(path: Path, frames: int) -> str:
    conditions = {
        "delay": "low delay",
        "intra_period": -1,
        "frames": frames,
        "size": "96x64",
        "pixel_format": "yuv420p",
    }
    points = [
        {"setting": f"QP {number}", "bits_per_pixel": rate, "metrics": {"psnr": value}}
        for number, (rate, value) in enumerate(zip(RATES, VALUES, strict=True))
    ]
    curve = {"clip": "moving", "conditions": conditions, "points": points}
    content = {"format": PUBLISHED_FORMAT, "name": "VTM", "source": "a paper", "curves": [curve]}
    path.write_text(json.dumps(content))
    return f"file:{path}"


def test_published_points_are_matched_by_clip(clip: Path, cache: Path, tmp_path: Path) -> None:
    options = RunOptions(cache=cache, points=4)
    for frames, refused in ((FRAMES, False), (96, True)):
        points = find_codec(published(tmp_path / "points.json", frames), OPTIONS)
        run = evaluate([clip], [points, X264], options)
        curves = [run.curve("moving", name) for name in ("VTM", X264.name)]
        assert curves[0] and curves[1]
        assert curves[0].rates() == list(RATES)
        reason = difference(curves[0], curves[1], "psnr").refusal or ""
        assert reason.startswith("not comparable: frames") == refused
    (tmp_path / "points.json").write_text('{"format": "neuvid-points-1", "name": "VTM"}')
    with pytest.raises(UnreadableInput, match="a field is missing"):
        find_codec(f"file:{tmp_path / 'points.json'}", OPTIONS)


def test_the_report_is_one_file_without_links(
    evaluation: Evaluation, cache: Path, tmp_path: Path
) -> None:
    name = "</script><script>alert(1)</script>"
    clips = tuple(replace(clip, name=name) for clip in evaluation.clips)
    curves = tuple(replace(curve, clip=name) for curve in evaluation.curves)
    report = tmp_path / "report.html"
    write_report(replace(evaluation, clips=clips, curves=curves), cache, report)
    text = report.read_text()
    assert name not in text
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", text)
    match = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert match
    data = json.loads(match[1])
    assert data["clips"][0]["name"] == name
    assert data["codecs"] == ["untrained", X264.name]
    (pictures,) = data["pictures"]
    shown = [point["key"] for rate in pictures["rates"] for point in rate]
    assert len(shown) == 8  # each of our rates, and x264 at the nearest one
    assert set(shown) == set(pictures["files"])


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_the_report_draws_itself(evaluation: Evaluation, cache: Path, tmp_path: Path) -> None:
    write_report(evaluation, cache, tmp_path / "report.html")
    browser = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]
    browser += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000"]
    command = [*browser, "--dump-dom", (tmp_path / "report.html").as_uri()]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    page = page[page.index("<header") : page.index("<script")] + page[page.rindex("</script>") :]
    for codec in evaluation.codecs:
        assert page.count(codec) > 4  # in selections, tables and legends
    assert page.count("js-plotly-plot") == 2
    assert "data:image/webp;base64," in page


def test_commands(
    clip: Path,
    cache: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = [str(clip), "--codec", "x264:ultrafast", "--points", "4", "--cache", str(cache)]
    ours = ["--codec", str(checkpoint), "--qualities", "0,21,42,63"]
    report = tmp_path / "report.html"
    assert main(["eval", *common, *ours, "-o", str(report)]) == 0
    capsys.readouterr()
    assert report.is_file()
    result = str(report.with_suffix(".json"))
    assert main(["compare", result, result]) == 0
    assert capsys.readouterr().out.count("+0.00 %") == 2
    assert main(["compare", result, str(clip)]) == 2
    assert "is not JSON" in capsys.readouterr().err
    assert main(["eval", str(clip), str(tmp_path / "no.mp4"), *common[1:], "-o", str(report)]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert len(read_evaluation(report.with_suffix(".json")).curves) == 1


def test_frame_rates_are_exact(tmp_path: Path) -> None:
    info = moving_info((32, 32), Fraction(30000, 1001))
    with create_clip(tmp_path / "ntsc.y4m", info) as writer:
        for frame in moving_frames(info, 3):
            writer.write(frame)
    raw = extract_clip(tmp_path / "ntsc.y4m", tmp_path, 2)
    assert (raw.frames, raw.format.frame_rate) == (2, Fraction(30000, 1001))
    assert raw.seconds == Fraction(2002, 30000)
