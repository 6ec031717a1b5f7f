"""Laws of evaluations: rates, conditions, caching, and what becomes of failures."""

from __future__ import annotations

import shlex
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from clips import moving_frames, moving_info
from evaluations import (
    FRAMES,
    OPTIONS,
    X264,
    moving_file,
    numbers_in,
    small_evaluation,
    tiny_checkpoint,
)
from test_dynamic import save_flow_model

from neuvid.bitstream.container import PacketReader
from neuvid.cli.main import main
from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.evaluation.anchors import FfmpegCodec, Structure
from neuvid.evaluation.bdrate import compare_codecs, difference
from neuvid.evaluation.codecs import find_codec
from neuvid.evaluation.facts import codec_facts, drift, quality_range
from neuvid.evaluation.ffmpeg import ffmpeg_path
from neuvid.evaluation.files import read_evaluation, write_evaluation
from neuvid.evaluation.metrics import measure
from neuvid.evaluation.own import NeuvidCodec
from neuvid.evaluation.progress import Progress, ProgressTally
from neuvid.evaluation.results import Evaluation, Point
from neuvid.evaluation.run import RunOptions, evaluate
from neuvid.evaluation.source import RawClip, extract_clip
from neuvid.evaluation.summary import summary
from neuvid.video.clip import create_clip
from neuvid.video.frame import PixelFormat


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the clip and of the cache."""
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def evaluation(folder: Path) -> Evaluation:
    return small_evaluation(folder)


@pytest.fixture(scope="module")
def clip(evaluation: Evaluation, folder: Path) -> Path:
    """Return the clip of the evaluation."""
    return folder / "moving.y4m"


@pytest.fixture(scope="module")
def cache(evaluation: Evaluation, folder: Path) -> Path:
    """Return the cache of the evaluation."""
    return folder / "cache"


@pytest.fixture(scope="module")
def weights(evaluation: Evaluation, folder: Path) -> Path:
    """Return the checkpoint of our codec in the evaluation."""
    return folder / "tiny.safetensors"


@pytest.fixture(scope="module")
def raw_clip(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> RawClip:
    return extract_clip(clip, tmp_path_factory.mktemp("raw"), None)


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
    evaluation: Evaluation, raw_clip: RawClip, weights: Path, cache: Path, tmp_path: Path
) -> None:
    curve = evaluation.curve("moving", "tiny")
    assert curve
    point = curve.points[-1]
    stream, decoded = cache / point.key / "stream.nvid", tmp_path / "decoded.yuv"
    assert main(["decode", str(stream), str(decoded), "--model", str(weights)]) == 0
    assert measure(raw_clip, decoded) == point.by_frame
    assert 0 < (point.container_bytes or 0) < (point.file_bytes or 0)


def test_routes_are_codecs_of_their_own(clip: Path, tmp_path: Path) -> None:
    network = save_flow_model(tmp_path / "routes.safetensors")
    names = [f"{network}:route={route}" for route in (1, 3)]
    codecs = [
        find_codec(name, OPTIONS) for name in (*names, f"{tiny_checkpoint(tmp_path)}:route=1")
    ]
    run = evaluate([clip], codecs, RunOptions(cache=tmp_path / "cache", points=1, frames=3))
    sizes = {curve.codec: curve.points[0].file_bytes for curve in run.curves}
    assert set(sizes) == {"routes:route=1", "routes:route=3"}
    assert sizes["routes:route=1"] != sizes["routes:route=3"]
    narrow, wide = (codec_facts(run, name).kmac_per_pixel or 0 for name in sizes)
    assert 0 < narrow < wide
    assert f"{narrow:.2f}" in summary(run, "psnr")
    by_quality = find_codec(str(network), OPTIONS)
    assert isinstance(by_quality, NeuvidCodec)
    assert by_quality.kmac_per_pixel is None  # routes differ
    assert [(failure.codec, failure.reason) for failure in run.failures] == [
        ("tiny:route=1", "route is 1; allowed is 0..0 for tiny")
    ]


def test_rate_errors_are_those_of_the_files(clip: Path, weights: Path, tmp_path: Path) -> None:
    codec = find_codec(f"{weights}:bitrate=900,300", OPTIONS)
    run = evaluate([clip], [codec], RunOptions(cache=tmp_path))
    (curve,) = run.curves
    assert [point.setting for point in curve.points] == ["300 kbit/s", "900 kbit/s"]
    for point, target in zip(curve.points, (300e3, 900e3), strict=True):
        rate = 8 * (point.file_bytes or 0) * 25 / FRAMES
        assert point.rate_error == pytest.approx(rate / target - 1)
        assert_command_makes(tmp_path / point.key / "stream.nvid", point, clip, tmp_path)
    errors = [abs(point.rate_error or 0) for point in curve.points]
    assert codec_facts(run, codec.name).rate_error == pytest.approx(sum(errors) / 2)
    assert f"{50 * sum(errors):.2f} %" in summary(run, "psnr")


def test_results_survive_their_file(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation(evaluation, tmp_path / "a.json")
    assert read_evaluation(tmp_path / "a.json") == evaluation
    differences = numbers_in(tmp_path / "a.json")["differences"]
    assert set(differences) == set(evaluation.metrics)
    anchor, codec = evaluation.codecs
    assert set(differences["psnr"][anchor][codec]["clips"]) == {"moving"}
    for text in ("", "[]", "{}", '{"format": "neuvid-evaluation-1"}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(UnreadableInput):
            read_evaluation(tmp_path / "bad.json")


def test_an_interrupted_run_goes_on(clip: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 2:
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


def test_codecs_code_rgb_where_it_is_asked_for(clip: Path, weights: Path, tmp_path: Path) -> None:
    codecs = [find_codec(str(weights), OPTIONS), X264]
    run = evaluate([clip], codecs, RunOptions(cache=tmp_path, points=1, rgb=True))
    assert not run.failures
    assert {curve.conditions.pixel_format for curve in run.curves} == {"rgb24"}
    with (tmp_path / run.curves[0].points[0].key / "stream.nvid").open("rb") as file:
        assert PacketReader(file).header.pixel_format == "rgb24"


def test_an_interrupt_stops_what_has_not_begun(clip: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate([clip], [X264], RunOptions(cache=tmp_path, points=12, jobs=2), interrupt)
    assert 1 <= len(list(tmp_path.glob("*/stream.264"))) < 12


def test_another_setting_is_another_encoding(clip: Path, tmp_path: Path) -> None:
    keys = set()
    settings = [Structure(), Structure(4), Structure(random_access=True)]
    for frames in (FRAMES, 3):
        for structure in settings:
            codec = FfmpegCodec("x264", "ultrafast", structure, 1)
            run = evaluate([clip], [codec], RunOptions(cache=tmp_path, points=1, frames=frames))
            keys.add(run.curves[0].points[0].key)
    assert len(keys) == 6


def fake_ffmpeg(path: Path, script: str) -> str:
    """Write a program that does as `script` says, with the real one as $ffmpeg."""
    path.write_text(f'#!/bin/sh\nffmpeg="{ffmpeg_path()}"\n{script}\n')
    path.chmod(0o755)
    return str(path)


def test_timing_alone_keeps_seconds(clip: Path, tmp_path: Path) -> None:
    untimed = evaluate([clip], [X264], RunOptions(cache=tmp_path, points=2))
    assert codec_facts(untimed, X264.name).encode_speed is None
    timed = evaluate([clip], [X264], RunOptions(cache=tmp_path, points=2, timing=True))
    assert all(point.encode_seconds is None for point in untimed.curves[0].points)
    seconds = [point.encode_seconds or 0 for point in timed.curves[0].points]
    assert min(seconds) > 0
    assert codec_facts(timed, X264.name).encode_speed == pytest.approx(2 * FRAMES / sum(seconds))
    with pytest.raises(InvalidSetting, match="jobs"):
        RunOptions(cache=tmp_path, jobs=2, timing=True)


def test_processes_find_the_same_and_survive_each_other(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoder that has its process killed takes no other work with it."""
    alone = evaluate([clip], [X264], RunOptions(cache=tmp_path / "a", points=1))
    killer = 'case "$*" in *libx265*) kill -9 $PPID;; esac; exec "$ffmpeg" "$@"'
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", fake_ffmpeg(tmp_path / "ffmpeg", killer))
    codecs = [find_codec("x265:ultrafast", OPTIONS), X264]
    together = evaluate([clip], codecs, RunOptions(cache=tmp_path / "b", points=1, jobs=2))
    points = [evaluation.curves[0].points[0] for evaluation in (alone, together)]
    assert points[0].metrics == points[1].metrics
    assert points[0].file_bytes == points[1].file_bytes
    (failure,) = together.failures
    assert (failure.clip, failure.codec) == ("moving", "x265:ultrafast")
    assert "was killed" in failure.reason


def test_what_fails_is_named_and_the_rest_is_kept(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip that is none, one that a codec cannot code, and an ffmpeg without an encoder."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    coloured = moving_file(tmp_path / "coloured", PixelFormat.RGB)
    without = '"$ffmpeg" "$@" | sed s/libx265/missing/'
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", fake_ffmpeg(tmp_path / "ffmpeg", without))
    codecs = [find_codec(name, OPTIONS) for name in ("svtav1:10", "x265:ultrafast")]
    run = evaluate([broken, coloured, clip], codecs, RunOptions(cache=tmp_path / "c", points=1))
    reasons = {(failure.clip, failure.codec): failure.reason for failure in run.failures}
    assert "cannot read" in reasons["broken.mp4", ""]
    assert "rgb24" in reasons["coloured", "svtav1:10"]
    assert "one with the encoder libx265" in reasons["moving", "x265:ultrafast"]
    assert [(curve.clip, curve.codec) for curve in run.curves] == [("moving", "svtav1:10")]


def test_an_unknown_codec_is_named_and_the_others_are_kept(
    clip: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codecs = ["--codec", "x263:medium", "--codec", X264.name, "--codec", "x264:warp"]
    report = tmp_path / "report.html"
    run = ["--points", "4", "--cache", str(cache), "-o", str(report)]
    assert main(["eval", str(clip), *codecs, *run]) == 1
    told = capsys.readouterr().err
    assert "codec is 'x263:medium'" in told
    assert "preset of x264 is 'warp'" in told
    found = read_evaluation(report.with_suffix(".json"))
    assert found.codecs == [X264.name]
    assert [failure.codec for failure in found.failures] == ["x263:medium", "x264:warp"]


def test_time_left_follows_from_encodings_of_the_same_codec() -> None:
    told: list[Progress] = []
    tally = ProgressTally({"slow": 4, "fast": 4}, 2, told.append)
    tally.add("slow", None)  # from the cache
    assert told[-1] == Progress(1, 8, None)
    tally.add("slow", 10)
    assert told[-1] == Progress(2, 8, (2 * 10 + 4 * 10) / 2)
    tally.add("fast", 1)
    tally.add("fast", 3)
    assert told[-1] == Progress(4, 8, (2 * 10 + 2 * 2) / 2)


def assert_command_makes(stream: Path, point: Point, clip: Path, folder: Path) -> None:
    """Run the command that the report tells of a point, on the planes that it was given."""
    source, again = extract_clip(clip, folder, None).path, folder / "again.nvid"
    places = {source.name: str(source), stream.name: str(again)}
    command = shlex.split(point.encode_command)[1:]
    assert main([places.get(part, part) for part in command]) == 0
    assert again.read_bytes() == stream.read_bytes()


@pytest.mark.parametrize(
    ("setting", "comparable"),
    [("refresh=1", True), ("refresh=0", True), ("refresh=auto", True), ("intra=2", False)],
)
def test_settings_of_our_codec(
    setting: str,
    comparable: bool,
    clip: Path,
    weights: Path,
    tmp_path: Path,
    evaluation: Evaluation,
) -> None:
    """They change the stream as they say, and the command in the report makes the same one."""
    codec = find_codec(f"{weights}:{setting}", OPTIONS)
    run = evaluate([clip], [codec], RunOptions(cache=tmp_path, points=4))
    curve, usual = run.curve("moving", f"tiny:{setting}"), evaluation.curve("moving", "tiny")
    assert curve and usual
    unchanged = setting in ("refresh=0", "refresh=auto")  # of so short a clip
    assert (curve.rates() == usual.rates()) == unchanged
    assert (difference(usual, curve, "psnr").refusal is None) == comparable
    point = curve.points[0]
    assert_command_makes(tmp_path / point.key / "stream.nvid", point, clip, tmp_path)


def test_drift_is_the_change_from_the_beginning_to_the_end(evaluation: Evaluation) -> None:
    by_frame = {"psnr": [40.0] * 32 + [0.0] * 10 + [39.25] * 32}
    curves = tuple(
        replace(curve, points=tuple(replace(each, by_frame=by_frame) for each in curve.points))
        for curve in evaluation.curves
    )
    long = replace(evaluation, curves=curves)
    assert drift(long, "tiny", "psnr") == pytest.approx(-0.75)
    assert drift(long, "tiny", "vmaf") is None
    assert "-0.75" in summary(long, "psnr")
    assert drift(evaluation, "tiny", "psnr") is None
    assert "drift" not in summary(evaluation, "psnr")


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


def test_commands(
    clip: Path,
    cache: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    common = [str(clip), "--codec", "x264:ultrafast", "--points", "4", "--cache", str(cache)]
    ours = ["--codec", str(weights), "--qualities", "0,21,42,63"]
    report = tmp_path / "report.html"
    assert main(["eval", *common, *ours, "-o", str(report)]) == 0
    capsys.readouterr()
    assert report.is_file()
    result = str(report.with_suffix(".json"))
    assert main(["compare", result, result]) == 0
    assert capsys.readouterr().out.count("+0.00 %") == 2
    assert main(["summary", result, "--metric", "psnr_y"]) == 0
    table = capsys.readouterr().out
    evaluation = read_evaluation(report.with_suffix(".json"))
    low, high = quality_range(evaluation, "tiny", "psnr_y") or (0, 0)
    assert f"{low:.1f} to {high:.1f}" in table
    cells = [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]
    assert cells[0] == "tiny"
    for metric, cell in zip(evaluation.metrics, cells[1:], strict=True):
        rate = compare_codecs(evaluation, "tiny", "x264:ultrafast", metric).rate
        assert cell == ("–" if rate is None else f"{rate:+.1f} %")
    assert main(["summary", result, "--metric", "beauty"]) == 2
    assert "metric is 'beauty'" in capsys.readouterr().err
    assert main(["compare", result, str(clip)]) == 2
    assert "is not JSON" in capsys.readouterr().err
    assert main(["eval", str(clip), str(tmp_path / "no.mp4"), *common[1:], "-o", str(report)]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert len(read_evaluation(report.with_suffix(".json")).curves) == 1
    assert main(["eval", str(tmp_path / "no.mp4"), *common[1:], "-o", str(report)]) == 1
    assert "Nothing was measured" in capsys.readouterr().out


def test_frame_rates_are_exact(tmp_path: Path) -> None:
    info = moving_info((32, 32), Fraction(30000, 1001))
    with create_clip(tmp_path / "ntsc.y4m", info) as writer:
        for frame in moving_frames(info, 3):
            writer.write(frame)
    raw = extract_clip(tmp_path / "ntsc.y4m", tmp_path, 2)
    assert (raw.frames, raw.format.frame_rate) == (2, Fraction(30000, 1001))
    assert raw.seconds == Fraction(2002, 30000)
