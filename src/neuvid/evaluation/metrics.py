"""What coding did to the pictures, frame by frame."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log10
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuvid.errors import UnreadableInput
from neuvid.evaluation.colour import to_rgb, to_ycbcr
from neuvid.evaluation.ffmpeg import ffmpeg_has, ffmpeg_path, raw_input, run_ffmpeg
from neuvid.evaluation.source import RawClip, read_frame
from neuvid.video.frame import PixelFormat

EXACT_PSNR = 100.0  # dB, of planes without any error
MS_SSIM_SIDE = 176  # pixels; five scales of windows of 11 pixels need as many
XPSNR_LINE = re.compile(r"^n: +(\d+) +XPSNR y: +(\S+)")


def mean_of_roots(decibels: Sequence[float]) -> float:
    """Return the XPSNR of several frames: that of the mean root of their errors."""
    return -20 * log10(fmean(10 ** (-value / 20) for value in decibels))


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of a frame; more is better. Of several frames it is the `mean`."""

    label: str
    unit: str = "dB"
    mean: Callable[[Sequence[float]], float] = fmean


METRICS = {
    "psnr": Metric("PSNR (6Y+U+V)/8"),
    "psnr_y": Metric("PSNR Y"),
    "psnr_u": Metric("PSNR U"),
    "psnr_v": Metric("PSNR V"),
    "psnr_rgb": Metric("PSNR RGB"),
    "ms_ssim": Metric("MS-SSIM Y", "1"),
    "vmaf": Metric("VMAF", "0..100"),
    "xpsnr": Metric("XPSNR Y", mean=mean_of_roots),
}

FrameMetrics: TypeAlias = dict[str, list[float]]  # by metric, one number per frame


def average_metrics(by_frame: FrameMetrics) -> dict[str, float]:
    """Return each metric of all frames together."""
    return {name: round(METRICS[name].mean(values), 5) for name, values in by_frame.items()}


def measure(clip: RawClip, decoded: Path) -> FrameMetrics:
    """Return the metrics of each frame of `decoded`, bare planes like those of `clip`.

    VMAF, MS-SSIM and XPSNR are left out where ffmpeg has no filter for them, and MS-SSIM where
    frames are smaller than MS_SSIM_SIDE.

    Raises UnreadableInput when size or count of the frames differ.
    """
    expected = clip.format.frame_bytes * clip.frames
    if decoded.stat().st_size != expected:
        count = decoded.stat().st_size / clip.format.frame_bytes
        reason = f"it holds {count:g} frames of {clip.size}; the clip has {clip.frames}"
        raise UnreadableInput(decoded, reason)
    metrics = _psnr_by_frame(clip, decoded)
    if ffmpeg_has(ffmpeg_path(), "filter", "libvmaf"):
        metrics |= _vmaf_by_frame(clip, decoded)
    if ffmpeg_has(ffmpeg_path(), "filter", "xpsnr"):
        metrics |= _xpsnr_by_frame(clip, decoded)
    return {
        name: [round(value, 5) for value in metrics[name]] for name in METRICS if name in metrics
    }


def plane_psnr(source: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float:
    """Return the PSNR of 8-bit samples of one shape, in dB; EXACT_PSNR without any error."""
    difference = source.astype(np.int32) - decoded
    return _psnr(float(np.mean(difference * difference)))


def weighted_psnr(y: float, u: float, v: float) -> float:
    """Return the mean that the papers use: (6Y + U + V) / 8."""
    return (6 * y + u + v) / 8


def _psnr(mean_square_error: float) -> float:
    if not mean_square_error:
        return EXACT_PSNR
    return 10 * log10(255**2 / mean_square_error)


def _psnr_by_frame(clip: RawClip, decoded: Path) -> FrameMetrics:
    columns: FrameMetrics = {
        name: [] for name in ("psnr", "psnr_y", "psnr_u", "psnr_v", "psnr_rgb")
    }
    for number in range(clip.frames):
        pair = [read_frame(path, clip.format, number) for path in (clip.path, decoded)]
        if clip.format.pixel_format is PixelFormat.RGB:
            rgb = [planes[0] for planes in pair]
            components = [to_ycbcr(picture) for picture in rgb]
            y, u, v = (
                _psnr(float(np.mean(np.square(a - b)))) for a, b in zip(*components, strict=True)
            )
        else:
            rgb = [to_rgb(planes, full_range=clip.full_range) for planes in pair]
            y, u, v = (plane_psnr(a, b) for a, b in zip(*pair, strict=True))
        values = (weighted_psnr(y, u, v), y, u, v, plane_psnr(*rgb))
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    return columns


def _filter_inputs(clip: RawClip, decoded: Path) -> tuple[list[str], str]:
    """Arguments for the decoded and the source frames, and a filter to put before the others."""
    inputs = [*raw_input(decoded, clip.format), *raw_input(clip.path, clip.format)]
    if clip.format.pixel_format is PixelFormat.YUV420:
        return inputs, "null"
    return inputs, "scale=out_color_matrix=bt709:flags=accurate_rnd+full_chroma_int,format=yuv444p"


def _compare(clip: RawClip, decoded: Path, comparison: str) -> None:
    inputs, convert = _filter_inputs(clip, decoded)
    graph = f"[0:v]{convert}[decoded];[1:v]{convert}[source];[decoded][source]{comparison}"
    run_ffmpeg([*inputs, "-filter_complex", graph, "-f", "null", "-"], decoded.parent)


def _vmaf_by_frame(clip: RawClip, decoded: Path) -> FrameMetrics:
    log = decoded.with_suffix(".vmaf")
    wanted = {"vmaf": "vmaf"}
    feature = ""
    if min(clip.size.width, clip.size.height) >= MS_SSIM_SIDE:
        wanted["ms_ssim"] = "float_ms_ssim"
        feature = ":feature=name=float_ms_ssim"
    _compare(clip, decoded, f"libvmaf=log_fmt=json:log_path={log.name}{feature}")
    frames = json.loads(log.read_text())["frames"]
    # Not a number where a factor of MS-SSIM is negative: nothing is alike.
    return {
        name: [frame["metrics"][key] or 0.0 for frame in frames] for name, key in wanted.items()
    }


def _xpsnr_by_frame(clip: RawClip, decoded: Path) -> FrameMetrics:
    log = decoded.with_suffix(".xpsnr")
    _compare(clip, decoded, f"xpsnr=stats_file={log.name}")
    matches = filter(None, map(XPSNR_LINE.match, log.read_text().splitlines()))
    return {"xpsnr": [min(float(match[2]), EXACT_PSNR) for match in matches]}
