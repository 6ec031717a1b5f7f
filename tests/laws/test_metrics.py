"""Metrics are those of ffmpeg on the same files; differences are those of bjontegaard."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from bjontegaard.functions import bd_psnr, bd_rate  # type: ignore[import-untyped]
from clips import bikes
from evaluations import FRAMES, moving_file, numbers_in

from neuvid.cli.main import main
from neuvid.errors import UnreadableInput
from neuvid.evaluation.anchors import FfmpegCodec, Structure
from neuvid.evaluation.ffmpeg import ffmpeg_path
from neuvid.evaluation.metrics import (
    EXACT_PSNR,
    METRICS,
    FrameMetrics,
    average_metrics,
    measure,
    plane_psnr,
)
from neuvid.evaluation.source import RawClip, extract_clip

REAL_FRAMES = 5


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> RawClip:
    folder = tmp_path_factory.mktemp("small")
    return extract_clip(moving_file(folder / "moving.y4m"), folder, None)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RawClip:
    return extract_clip(bikes(), tmp_path_factory.mktemp("real"), REAL_FRAMES)


@pytest.fixture(scope="module")
def decoded(real: RawClip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoded_by_x264(real, tmp_path_factory.mktemp("decoded"))


@pytest.fixture(scope="module")
def measured(real: RawClip, decoded: Path) -> FrameMetrics:
    return measure(real, decoded)


def decoded_by_x264(raw: RawClip, folder: Path) -> Path:
    codec = FfmpegCodec("x264", "ultrafast", Structure(), 1)
    codec.encode(raw, 35, folder / "stream.264")
    codec.decode(raw, folder / "stream.264", folder / "decoded.yuv")
    return folder / "decoded.yuv"


def ffmpeg_says(real: RawClip, decoded: Path, comparison: str) -> str:
    """Return what ffmpeg prints when it compares the decoded planes with those of the source."""
    planes = f"-f rawvideo -pix_fmt yuv420p -video_size {real.size} -framerate 25".split()
    inputs = [*planes, "-i", str(decoded), *planes, "-i", str(real.path)]
    command = [ffmpeg_path(), *inputs, "-lavfi", comparison, "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=decoded.parent)
    return done.stdout + done.stderr


def test_psnr_is_that_of_ffmpeg(real: RawClip, decoded: Path, measured: FrameMetrics) -> None:
    said = ffmpeg_says(real, decoded, "psnr=stats_file=-")
    for plane in "yuv":
        expected = [float(value) for value in re.findall(rf"psnr_{plane}:(\S+)", said)]
        assert len(expected) == REAL_FRAMES
        assert measured[f"psnr_{plane}"] == pytest.approx(expected, abs=0.01)
    planes = zip(*(measured[f"psnr{p}"] for p in ("_y", "_u", "_v", "")), strict=True)
    for y, u, v, all_planes in planes:
        assert all_planes == pytest.approx((6 * y + u + v) / 8, abs=1e-4)


def test_vmaf_and_ms_ssim_are_those_of_ffmpeg(
    real: RawClip, decoded: Path, measured: FrameMetrics
) -> None:
    said = ffmpeg_says(real, decoded, "libvmaf=feature=name=float_ms_ssim:log_path=log")
    (score,) = re.findall(r"VMAF score: (\S+)", said)
    assert average_metrics(measured)["vmaf"] == pytest.approx(float(score), abs=0.01)
    log = (decoded.parent / "log").read_text()
    (ms_ssim,) = re.findall(r'<metric name="float_ms_ssim"[^>]* mean="(\S+?)"', log)
    assert average_metrics(measured)["ms_ssim"] == pytest.approx(float(ms_ssim), abs=1e-4)


def test_a_picture_unlike_its_source_has_numbers_too(real: RawClip, tmp_path: Path) -> None:
    negative = tmp_path / "negative.yuv"
    negative.write_bytes((255 - np.fromfile(real.path, np.uint8)).tobytes())
    assert average_metrics(measure(real, negative))["ms_ssim"] == 0.0


def test_xpsnr_is_that_of_ffmpeg(real: RawClip, decoded: Path, measured: FrameMetrics) -> None:
    (score,) = re.findall(r"XPSNR  y: (\S+)", ffmpeg_says(real, decoded, "xpsnr"))
    assert average_metrics(measured)["xpsnr"] == pytest.approx(float(score), abs=0.01)


def test_means_are_over_frames(small: RawClip, tmp_path: Path) -> None:
    by_frame = measure(small, decoded_by_x264(small, tmp_path))
    assert set(by_frame) == set(METRICS) - {"ms_ssim"}  # too small for five scales
    assert all(len(values) == FRAMES for values in by_frame.values())
    means = average_metrics(by_frame)
    for name in set(by_frame) - {"xpsnr"}:
        assert means[name] == pytest.approx(np.mean(by_frame[name]), abs=1e-4)


def test_exact_planes_have_the_highest_psnr(small: RawClip) -> None:
    measured = measure(small, small.path)
    assert set(measured["psnr"]) == set(measured["psnr_rgb"]) == {EXACT_PSNR}
    one_off = np.zeros((1000, 1000), np.uint8)
    one_off[0, 0] = 1
    assert plane_psnr(one_off, np.zeros_like(one_off)) > EXACT_PSNR


def test_decoded_frames_must_fit(small: RawClip, tmp_path: Path) -> None:
    (tmp_path / "short.yuv").write_bytes(small.path.read_bytes()[: -small.format.frame_bytes])
    with pytest.raises(UnreadableInput, match=f"{FRAMES - 1} frames of 96x64; the clip has"):
        measure(small, tmp_path / "short.yuv")


def test_differences_in_the_json_are_those_of_bjontegaard(tmp_path: Path) -> None:
    """Of x265 against x264 on a real clip; everything is taken from the file alone."""
    report = tmp_path / "report.html"
    codecs = ["--codec", "x264:medium", "--codec", "x265:medium", "--points", "4"]
    run = ["--frames", str(REAL_FRAMES), "--cache", str(tmp_path / "cache")]
    assert main(["eval", str(bikes()), *codecs, *run, "-o", str(report)]) == 0
    numbers = numbers_in(report.with_suffix(".json"))
    x264, x265 = (curve["points"] for curve in numbers["curves"])
    for metric in ("psnr", "psnr_y", "psnr_rgb", "vmaf", "ms_ssim"):
        columns = []
        for points in (x264, x265):
            columns.append([8 * p["file_bytes"] / (640 * 272 * REAL_FRAMES) for p in points])
            columns.append([p["metrics"][metric] for p in points])
        found = numbers["differences"][metric]["x264:medium"]["x265:medium"]
        options = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
        assert found["clips"]["bikes"]["rate"] == pytest.approx(bd_rate(*columns, **options))
        assert found["clips"]["bikes"]["gain"] == pytest.approx(bd_psnr(*columns, **options))
        assert -60 < found["rate"] < -5  # it codes better, and no miracle
