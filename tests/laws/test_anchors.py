"""Other codecs are given the conditions that the report tells of."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from evaluations import FRAMES, OPTIONS, moving_file, tiny_checkpoint

from neuvid.cli.main import main
from neuvid.errors import InvalidSetting
from neuvid.evaluation.anchors import FAMILIES, FfmpegCodec, Structure
from neuvid.evaluation.codec import Codec
from neuvid.evaluation.codecs import CodecOptions, find_codec
from neuvid.evaluation.ffmpeg import ffmpeg_path
from neuvid.evaluation.metrics import measure
from neuvid.evaluation.published import Published
from neuvid.evaluation.source import RawClip, extract_clip
from neuvid.video.clip import open_clip
from neuvid.video.frame import PixelFormat

FASTEST = {"svtav1": "10", "libaom": "8", "vvenc": "faster"}


@pytest.fixture(scope="module")
def raw_clip(tmp_path_factory: pytest.TempPathFactory) -> RawClip:
    folder = tmp_path_factory.mktemp("raw")
    return extract_clip(moving_file(folder / "moving.y4m"), folder, None)


def fastest(family: str, structure: Structure = Structure()) -> FfmpegCodec:  # noqa: B008
    return FfmpegCodec(family, FASTEST.get(family, "ultrafast"), structure, 1)


def code(codec: Codec, clip: RawClip, folder: Path) -> tuple[Path, Path]:
    """Return a stream and what it decodes to."""
    stream, decoded = folder / f"stream{codec.suffix}", folder / f"{clip.frames}.planes"
    codec.encode(clip, 30, stream)
    codec.decode(clip, stream, decoded)
    return stream, decoded


def kinds_of(stream: Path) -> list[str]:
    shown = ["-i", str(stream), "-vf", "showinfo", "-f", "null", "-"]
    done = subprocess.run([ffmpeg_path(), *shown], capture_output=True, text=True, check=True)
    return re.findall(r" type:(\w)", done.stderr)


@pytest.mark.parametrize("period", [-1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_intra_frames_stand_where_the_period_says(
    family: str, period: int, raw_clip: RawClip, tmp_path: Path
) -> None:
    """And all frames come back in order, at their size."""
    stream, decoded = code(fastest(family, Structure(period)), raw_clip, tmp_path)
    assert min(measure(raw_clip, decoded)["psnr_y"]) > 25
    expected = [number == 0 or (period > 0 and number % period == 0) for number in range(FRAMES)]
    assert [kind == "I" for kind in kinds_of(stream)] == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_low_delay_looks_at_no_later_frame(family: str, tmp_path: Path) -> None:
    """A clip that ends earlier is coded as the beginning of the longer one."""
    source = moving_file(tmp_path / "moving.y4m", frames=13)
    decoded = []
    for frames in (13, 10):  # both longer than a group of vvenc's pictures
        clip = extract_clip(source, tmp_path, frames)
        decoded.append(code(fastest(family), clip, tmp_path)[1].read_bytes())
    assert decoded[0].startswith(decoded[1])


def test_random_access_reorders(raw_clip: RawClip, tmp_path: Path) -> None:
    kinds = {}
    for random_access in (False, True):
        codec = FfmpegCodec("x264", "medium", Structure(random_access=random_access), 1)
        stream, _ = code(codec, raw_clip, tmp_path)
        with open_clip(stream) as frames:
            assert len(list(frames)) == FRAMES
        kinds[codec.structure.delay] = set(kinds_of(stream))
    assert kinds == {"low delay": {"I", "P"}, "random access": {"I", "P", "B"}}


@pytest.mark.parametrize("family", FAMILIES)
def test_rgb_is_coded_where_the_encoder_can(family: str, tmp_path: Path) -> None:
    clip = extract_clip(moving_file(tmp_path / "rgb", PixelFormat.RGB), tmp_path, None)
    codec = fastest(family)
    if not FAMILIES[family].codes_rgb:
        with pytest.raises(InvalidSetting, match=f"pixel format for {codec.name} is 'rgb24'"):
            codec.encode(clip, 30, tmp_path / "stream")
        return
    stream = tmp_path / f"stream{codec.suffix}"
    codec.encode(clip, 1, stream)
    codec.decode(clip, stream, tmp_path / "decoded.rgb")
    assert min(measure(clip, tmp_path / "decoded.rgb")["psnr_rgb"]) > 45


def test_quantisers_of_rgb_mean_what_those_of_420_mean(tmp_path: Path, raw_clip: RawClip) -> None:
    clip = extract_clip(moving_file(tmp_path / "rgb", PixelFormat.RGB), tmp_path, None)
    for family in ("x264", "x265"):
        luma = []
        for coded in (clip, raw_clip):
            _, decoded = code(fastest(family), coded, tmp_path)
            luma.append(np.mean(measure(coded, decoded)["psnr_y"]))
        assert luma[0] == pytest.approx(luma[1], abs=4)


def test_clips_become_rgb_by_bt709(raw_clip: RawClip, tmp_path: Path) -> None:
    source = moving_file(tmp_path / "moving.y4m")
    rgb = extract_clip(source, tmp_path, None, as_rgb=True)
    assert rgb.format.pixel_format is PixelFormat.RGB
    assert rgb.frames == FRAMES
    assert rgb.digest != raw_clip.digest
    first = np.fromfile(rgb.path, np.uint8, 96 * 64 * 3).reshape(64, 96, 3)
    luma = np.fromfile(raw_clip.path, np.uint8, 96 * 64).reshape(64, 96)
    whole = (first.min(-1) > 0) & (first.max(-1) < 255)  # nothing was clipped
    grey = first @ np.array([0.2126, 0.7152, 0.0722]) * 219 / 255 + 16
    assert whole.any()
    assert np.abs(grey - luma)[whole].max() < 1
    again = extract_clip(moving_file(tmp_path / "rgb", PixelFormat.RGB), tmp_path, None)
    assert extract_clip(tmp_path / "rgb", tmp_path, None, as_rgb=True).digest == again.digest


@pytest.mark.parametrize("name", ["x265:ultrafast", "x264:ultrafast:intra=2"])
def test_commands_in_the_report_make_the_same_streams(
    name: str, raw_clip: RawClip, tmp_path: Path
) -> None:
    codec = find_codec(name, OPTIONS)
    assert isinstance(codec, FfmpegCodec)
    stream, again = (tmp_path / f"{stem}{codec.suffix}" for stem in ("stream", "again"))
    cost = codec.encode(raw_clip, 30, stream)
    command = shlex.split(cost.command.replace("stream", "again"))
    subprocess.run([ffmpeg_path(), *command[1:]], check=True, capture_output=True)
    assert again.read_bytes() == stream.read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x263:medium", "codec is 'x263:medium'"),
        ("x264", "x264:PRESET"),
        ("x264:warp", "preset of x264 is 'warp'"),
        ("svtav1:99", "preset of svtav1"),
        ("x264:medium:refresh=8", "setting of x264:medium is 'refresh'; allowed is intra"),
        ("x264:medium:intra=0", "intra period is 0"),
        ("rt-small:intra=few", "intra of rt-small is 'few'"),
        ("rt-small:refresh=-2", "refresh period is -2"),
        ("rt-small:refresh=often", "refresh period is 'often'"),
        ("rt-small:route=4", "route is 4"),
        ("rt-small:bitrate=0", "bitrate is 0"),
        ("rt-small:bitrate=8,,9", "bitrate of rt-small is '8,,9'"),
        ("rt-small:bitrate=8:route=1", "route is 1; allowed is given with a quality"),
        ("rt-small:speed=3", "setting of rt-small is 'speed'"),
        ("file:missing.json", "cannot read missing.json"),
        ("missing.safetensors", "cannot read missing.safetensors"),
    ],
)
def test_unknown_codecs_are_named(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "clip.mp4", "--codec", name]) == 2
    assert message in capsys.readouterr().err


def test_settings_behind_a_name_are_its_own(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path)
    options = CodecOptions(structure=Structure(32, random_access=True))
    expected = {
        f"{checkpoint}": ("tiny", Structure(32)),
        f"{checkpoint}:intra=-1:refresh=8": ("tiny:intra=-1:refresh=8", Structure()),
        "x264:medium": ("x264:medium", Structure(32, random_access=True)),
        "x264:medium:intra=8": ("x264:medium:intra=8", Structure(8, random_access=True)),
    }
    for text, (name, structure) in expected.items():
        codec = find_codec(text, options)
        assert not isinstance(codec, Published)
        assert (codec.name, codec.structure) == (name, structure)
