"""Laws of the command line: it does what the library does, and each failure is one clear line."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from clips import moving_clip, moving_frames, moving_info

from neuvid.bitstream.container import PacketReader, PacketWriter
from neuvid.bitstream.packet import Packet
from neuvid.cli import output
from neuvid.cli.main import main
from neuvid.codec.clips import encode_clip
from neuvid.codec.streams import decode_stream
from neuvid.models.checkpoint import LoadedModel
from neuvid.models.presets import PRESETS
from neuvid.rate.controller import FixedQuality
from neuvid.video.clip import create_clip, open_clip
from neuvid.video.frame import PixelFormat

FRAMES = 8
ROOT = Path(__file__).parents[2]
NEUVID = (sys.executable, "-m", "neuvid")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "moving.mp4"
    return moving_clip(path, frames=FRAMES, frame_rate=Fraction(4), audio=True)


@pytest.fixture(scope="module")
def stream(clip: Path, model: LoadedModel) -> Path:
    path = clip.with_suffix(".nvid")
    with open_clip(clip, passthrough=True) as reader:
        encode_clip(reader, path, model=model, control=FixedQuality(32))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    numbers = json.loads(capsys.readouterr().out)
    assert isinstance(numbers, dict)
    return numbers


def start(*arguments: object, **streams: Any) -> subprocess.Popen[bytes]:
    command = [*NEUVID, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, env=environment, preexec_fn=heed_interrupts, **streams
    )


def heed_interrupts() -> None:
    """Undo what a shell does to the programs that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_commands_do_what_the_library_does(
    clip: Path,
    stream: Path,
    checkpoint: Path,
    model: LoadedModel,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--model", str(checkpoint), "--json"]
    assert main(["encode", str(clip), "x.nvid", *arguments]) == 0
    coded = read_json(capsys)
    assert Path("x.nvid").read_bytes() == stream.read_bytes()
    assert coded["bytes"]["total"] == stream.stat().st_size
    assert (coded["frames"], coded["seconds"]) == (FRAMES, 2.0)

    assert main(["decode", "x.nvid", "x.y4m", *arguments]) == 0
    decoded = read_json(capsys)
    decode_stream(stream, folder / "library.y4m", model=model)
    assert Path("x.y4m").read_bytes() == Path("library.y4m").read_bytes()
    assert (decoded["written_frames"], decoded["lost_frames"]) == (FRAMES, 0)

    assert main(["info", "x.nvid", "--json", "--packets"]) == 0
    info = read_json(capsys)
    assert info["bytes"] == coded["bytes"] == decoded["bytes"]
    assert info["bits_per_pixel"] == coded["bits_per_pixel"]
    assert (info["width"], info["height"], info["model"]) == (64, 48, "tiny")
    assert info["checkpoint"] == model.digest.hex()
    assert [packet["number"] for packet in info["packets"]] == list(range(FRAMES))
    assert sum(packet["payload_bytes"] for packet in info["packets"]) == info["bytes"]["video"]

    assert main(["verify", "x.nvid", *arguments]) == 0
    assert read_json(capsys)["decoded"]


def test_the_older_name_of_quality_works_and_is_told(
    clip: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for name in ("quality", "qp"):
        options = ["--model", str(checkpoint), "--frames", "2", f"--{name}", "9.25"]
        assert main(["encode", str(clip), f"{name}.nvid", *options, "--json"]) == 0
        told.append([line for line in capsys.readouterr().err.splitlines() if "--qp" in line])
    assert Path("qp.nvid").read_bytes() == Path("quality.nvid").read_bytes()
    assert told == [[], ["neuvid: note: --qp is called --quality now"]]
    assert main(["encode", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--quality" in shown and "--qp" not in shown


@pytest.mark.parametrize(
    ("options", "unit"),
    [
        ("--bitrate 20k", "kbit/s"),
        ("--bitrate-file rates.txt --buffer 2", "kbit/s"),
        ("--bitrate 20k --two-pass --max-rate .03M", "kbit/s"),
        ("--size 40kB", "bytes"),
        ("--psnr 20", "dB"),
        ("--quality 40 --max-rate 20k --buffer 1.5", "kbit/s"),
    ],
)
def test_rates_are_told(
    options: str,
    unit: str,
    clip: Path,
    checkpoint: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("rates.txt").write_text("0 20k\n0.5 30k\n")
    arguments = ["encode", str(clip), "x.nvid", "--model", str(checkpoint), *options.split()]
    assert main([*arguments, "--json"]) == 0
    numbers = read_json(capsys)
    rate = numbers["rate"]
    assert rate["unit"] == unit
    assert set(rate) >= {"target", "actual", "error", "worst_second", "buffer_violations"}
    if unit == "bytes":
        assert rate["actual"] == numbers["bytes"]["total"] <= 40000
    if unit == "kbit/s":
        assert rate["actual"] == pytest.approx(numbers["kilobits_per_second"])
    assert main(arguments) == 0
    told = capsys.readouterr().err
    assert "worst second" in told and ("--quality" in options or "target" in told)


def test_rates_out_of_reach_are_told(
    clip: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(checkpoint)]
    for rate, quality in (("100", "lowest"), ("1G", "highest")):
        assert main(["encode", str(clip), "x.nvid", "--bitrate", rate, *model]) == 0
        warning = next(line for line in capsys.readouterr().err.splitlines() if "reach" in line)
        assert warning.startswith("neuvid: warning:") and quality in warning


def test_people_are_told_as_well(
    stream: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(stream), "--packets"]) == 0
    assert re.search(r"64x48.*\b8, of which 1 intra\b", capsys.readouterr().out, re.DOTALL)
    assert main(["verify", str(stream)]) == 0
    told = capsys.readouterr()
    assert "all checksums are right" in told.out and "not decoded" in told.err
    assert main(["verify", str(stream), "--model", str(checkpoint)]) == 0
    assert "8 frames, all decoded" in capsys.readouterr().out
    assert main(["decode", str(stream), "x.y4m", "--model", str(checkpoint)]) == 0
    assert "cannot hold sound" in capsys.readouterr().err


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = read_json(capsys)["models"]
    assert [row["model"] for row in rows] == list(PRESETS)
    assert rows[0]["video_parameters"] == 20_691_456


def test_raw_video_and_pictures(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = moving_info((18, 10), pixel_format=PixelFormat.RGB)
    for name in ("in.yuv", "pictures"):
        with create_clip(folder / name, info) as writer:
            for frame in moving_frames(info, 3):
                writer.write(frame)
    sizes = ["--frame-size", "18x10", "--fps", "30000/1001", "--pixel-format", "rgb24"]
    model = ["--model", str(checkpoint)]
    assert main(["encode", "in.yuv", "raw.nvid", *sizes, *model]) == 0
    assert main(["encode", "pictures", "pictures.nvid", "--fps", "30000/1001", *model]) == 0
    streams = []
    for path in ("raw.nvid", "pictures.nvid"):
        with open(path, "rb") as file:
            reader = PacketReader(file)
            payloads = [packet.payload for packet in reader if isinstance(packet, Packet)]
            streams.append((reader.header.frame_rate, payloads))
    assert streams[0] == streams[1]
    assert streams[0][0] == Fraction(30000, 1001)


def test_pipes_in_two_processes_show_the_encoder_s_pictures(
    folder: Path, checkpoint: Path, model: LoadedModel
) -> None:
    info = moving_info((48, 32))
    with create_clip(folder / "in.y4m", info) as writer:
        for frame in moving_frames(info, 5):
            writer.write(frame)
    pipe = subprocess.PIPE
    with (folder / "in.y4m").open("rb") as source, (folder / "out.y4m").open("wb") as target:
        arguments = ("-", "-", "--model", checkpoint)
        with (
            start("encode", *arguments, stdin=source, stdout=pipe) as encoder,
            start("decode", *arguments, stdin=encoder.stdout, stdout=target) as decoder,
        ):
            assert (encoder.wait(), decoder.wait()) == (0, 0)
    with open_clip(folder / "in.y4m") as reader:
        encode_clip(reader, folder / "x.nvid", model=model, control=FixedQuality(32))
    decode_stream(folder / "x.nvid", folder / "same.y4m", model=model)
    assert (folder / "out.y4m").read_bytes() == (folder / "same.y4m").read_bytes()


FAILURES = [
    ("encode nothing.mp4 x.nvid MODEL", "nothing.mp4: there is no such file"),
    ("encode CLIP x.mp4 MODEL", "'x.mp4'; allowed is a file that ends in .nvid"),
    ("encode CLIP missing/x.nvid MODEL", "missing/x.nvid: its folder does not exist"),
    ("encode CLIP /proc/x.nvid MODEL", "cannot write /proc/x.nvid"),
    ("encode CLIP x.nvid --model rt-huge", "model is 'rt-huge'; allowed is rt,"),
    ("encode CLIP x.nvid --model no.safetensors", "no.safetensors"),
    ("encode CLIP x.nvid --model CLIP", "model is"),
    ("encode CLIP x.nvid MODEL --quality 64", "quality is 64.0; allowed is 0..63"),
    ("encode CLIP x.nvid MODEL --quality nan", "quality is nan"),
    ("encode CLIP x.nvid MODEL --quality much", "--quality"),
    ("encode CLIP x.nvid MODEL --bitrate 0", "bitrate is '0'"),
    ("encode CLIP x.nvid MODEL --bitrate -5k", "bitrate is '-5k'"),
    ("encode CLIP x.nvid MODEL --bitrate 80q", "bitrate is '80q'; allowed is a number above 0"),
    ("encode CLIP x.nvid MODEL --bitrate nan", "bitrate is 'nan'"),
    ("encode CLIP x.nvid MODEL --bitrate 9k --quality 3", "options is '--quality --bitrate'"),
    ("encode CLIP x.nvid MODEL --quality 3 --qp 3", "options is '--quality --qp'"),
    ("encode CLIP x.nvid MODEL --bitrate 9k --max-rate 8k", "max rate is 8000.0"),
    ("encode CLIP x.nvid MODEL --bitrate 9k --buffer 0", "buffer is 0.0"),
    ("encode CLIP x.nvid MODEL --bitrate 9k --route 0", "route is 0"),
    ("encode CLIP x.nvid MODEL --bitrate-file no.txt", "cannot read no.txt: No such file"),
    ("encode CLIP x.nvid MODEL --bitrate-file late.txt", "first time of late.txt is 1.0"),
    ("encode CLIP x.nvid MODEL --bitrate-file back.txt", "time of a bitrate is 1.0"),
    ("encode CLIP x.nvid MODEL --bitrate-file words.txt", "line 2 of words.txt is 'a lot'"),
    ("encode CLIP x.nvid MODEL --bitrate-file raw.mp4", "line 1 of raw.mp4"),
    ("encode CLIP x.nvid MODEL --max-rate 0", "max rate is '0'"),
    ("encode CLIP x.nvid MODEL --buffer 2", "buffer is 2.0; allowed is given with --max-rate"),
    ("encode CLIP x.nvid MODEL --two-pass", "two-pass is True"),
    ("encode CLIP x.nvid MODEL --size 8XB", "size is '8XB'"),
    ("encode CLIP x.nvid MODEL --size 0", "size is '0'"),
    ("encode CLIP x.nvid MODEL --size 9B", "size is 9; allowed is at least"),
    ("encode - x.nvid MODEL --size 8kB", "input is '-'; allowed is no pipe"),
    ("encode CLIP x.nvid MODEL --psnr 0", "psnr is 0.0"),
    ("encode CLIP x.nvid MODEL --psnr 30 --max-rate 9k", "max rate is 9000.0"),
    ("encode CLIP x.nvid MODEL --frames 0", "frames is 0"),
    ("encode CLIP x.nvid MODEL --start -1", "start is -1"),
    ("encode CLIP x.nvid MODEL --start 99", "moving.mp4: it has no frame at 99 s"),
    ("encode CLIP x.nvid MODEL --start 1e300", "no frame"),
    ("encode CLIP x.nvid MODEL --intra-period 0", "intra period is 0"),
    ("encode CLIP x.nvid MODEL --refresh -1", "refresh period is -1"),
    ("encode CLIP x.nvid MODEL --threads 0", "--threads"),
    ("encode CLIP x.nvid MODEL --device tpu9", "device is 'tpu9'"),
    ("encode raw.yuv x.nvid MODEL", "frame size is None"),
    ("encode raw.yuv x.nvid MODEL --frame-size 8x8", "fps is None"),
    ("encode raw.yuv x.nvid MODEL --frame-size 8 --fps 25", "frame size is '8'"),
    ("encode raw.yuv x.nvid MODEL --frame-size 0x8 --fps 25", "width is 0"),
    ("encode raw.yuv x.nvid MODEL --frame-size 8x8 --fps 1/0", "fps is '1/0'"),
    ("encode raw.yuv x.nvid MODEL --frame-size 8x8 --fps 25", "100 bytes are no whole number"),
    ("encode raw.mp4 x.nvid MODEL", "raw.mp4: it is not a video"),
    ("encode cut.mp4 x.nvid MODEL", "cut.mp4: its index is missing"),
    ("encode STREAM x.nvid MODEL", "moving.nvid: it is a neuvid stream already"),
    ("encode SOUND x.nvid MODEL", "it has no video stream"),
    ("decode nothing.nvid x.mp4 MODEL", "nothing.nvid: No such file"),
    ("decode CLIP x.mp4 MODEL", "moving.mp4: not a neuvid stream"),
    ("decode STREAM x.mp4", "does not come with neuvid"),
    ("decode STREAM x.mp4 --model OTHER", "moving.nvid: the stream was written with another"),
    ("decode STREAM x.avi MODEL", "'x.avi'"),
    ("decode STREAM missing/x.mp4 MODEL", "missing/x.mp4: its folder does not exist"),
    ("decode STREAM x.mp4 MODEL --seek 9", "start is 9.0"),
    ("decode STREAM x.mp4 MODEL --max-pixels 100", "frame size is '64x48'"),
    ("decode vast.nvid x.mp4 MODEL", "frame size is '65535x65535'"),
    ("decode cut.nvid x.mp4 MODEL", "cut.nvid: packet at byte"),
    ("decode head.nvid x.mp4 MODEL", "head.nvid: the stream ends"),
    ("decode new.nvid x.mp4 MODEL", "new.nvid: bitstream version is 9"),
    ("info nothing.nvid", "nothing.nvid: No such file"),
    ("info cut.nvid", "cut.nvid: packet at byte"),
    ("verify cut.nvid", "cut.nvid: packet at byte"),
    ("verify cut.nvid MODEL", "cut.nvid: packet at byte"),
    ("import raw.yuv -o x.safetensors", "raw.yuv: no PyTorch checkpoint"),
    ("import raw.yuv -o x.pth", "'x.pth'; allowed is a file that ends in .safetensors"),
    ("encode", "Missing argument 'INPUT'"),
    ("recode", "No such command 'recode'"),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = av.AudioFrame(format="s16", layout="mono", samples=800)
        samples.rate = 8000
        container.mux(stream.encode(samples))
    return path


@pytest.fixture
def broken(folder: Path, clip: Path, stream: Path) -> Path:
    """Make files that are not what they should be, in a folder where the command runs."""
    data = stream.read_bytes()
    (folder / "raw.yuv").write_bytes(bytes(100))
    (folder / "raw.mp4").write_bytes(b"a moving picture" * 10)
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:9000])
    (folder / "cut.nvid").write_bytes(data[: len(data) // 2])
    (folder / "head.nvid").write_bytes(data[:10])
    (folder / "late.txt").write_text("1 80k")
    (folder / "back.txt").write_text("0 80k\n2 50k # then\n1 60k")
    (folder / "words.txt").write_text("0, 80k\na lot")
    (folder / "new.nvid").write_bytes(data[:6] + b"\x09" + data[7:])
    with stream.open("rb") as file, (folder / "vast.nvid").open("wb") as vast:
        header = replace(PacketReader(file).header, width=65535, height=65535)
        PacketWriter(vast, header).finish()
    return folder


@pytest.mark.parametrize(("line", "reason"), FAILURES)
def test_failures_are_one_clear_line(
    line: str,
    reason: str,
    broken: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    places = {
        "MODEL": "checkpoint",
        "OTHER": "other_checkpoint",
        "CLIP": "clip",
        "STREAM": "stream",
        "SOUND": "sound",
    }
    arguments = []
    for word in line.split():
        if word in places:
            path = str(request.getfixturevalue(places[word]))
            arguments += ["--model", path] if word == "MODEL" else [path]
        else:
            arguments.append(word)
    before = sorted(broken.iterdir())
    assert main(arguments) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and told[0].startswith("neuvid: error: ")
    assert reason in told[0]
    assert sorted(broken.iterdir()) == before


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_the_input_is_never_replaced(
    command: str, clip: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.nvid", "b.nvid"):
        (folder / name).unlink(missing_ok=True)
    (folder / "a.nvid").write_bytes(clip.read_bytes())
    (folder / "b.nvid").hardlink_to("a.nvid")
    for target in ("a.nvid", "./a.nvid", "b.nvid"):
        assert main([command, "a.nvid", target, "--model", str(checkpoint)]) == 2
        assert "another file than the input" in capsys.readouterr().err
    assert (folder / "a.nvid").read_bytes() == clip.read_bytes()


def test_salvage_says_what_is_lost(
    stream: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = stream.read_bytes()
    (folder / "cut.nvid").write_bytes(data[: len(data) * 3 // 4])
    arguments = ["decode", "cut.nvid", "x.y4m", "--model", str(checkpoint)]
    assert main([*arguments, "--keep-going", "--json"]) == 1
    out, err = capsys.readouterr()
    numbers = json.loads(out)
    assert 0 < numbers["written_frames"] == FRAMES - numbers["lost_frames"]
    assert f"lost frames: {numbers['lost_frames']}" in err and "cut.nvid" in err
    assert (folder / "x.y4m").read_bytes().count(b"FRAME\n") == numbers["written_frames"]


def test_damage_that_costs_no_frame_is_told_as_well(
    stream: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "cut.nvid").write_bytes(stream.read_bytes()[:-1])
    arguments = ["decode", "cut.nvid", "x.y4m", "--model", str(checkpoint)]
    assert main([*arguments, "--keep-going"]) == 1
    assert "lost frames: 0, the rest is written" in capsys.readouterr().err
    assert (folder / "x.y4m").read_bytes().count(b"FRAME\n") == FRAMES


def test_termination_while_python_ends_is_quiet() -> None:
    late = "import atexit, os; atexit.register(os.kill, os.getpid(), 15)"
    program = (
        NEUVID[0],
        "-c",
        f"{late}; from neuvid.cli.main import run; run()",
        "models",
        "--json",
    )
    process = subprocess.run(program, capture_output=True)
    assert (process.returncode, process.stderr) == (-signal.SIGTERM, b"")


def test_seeking(
    stream: Path, checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(checkpoint)]
    assert main(["decode", str(stream), "all.yuv", *model]) == 0
    assert "written of" not in capsys.readouterr().err
    assert main(["decode", str(stream), "tail.yuv", "--seek", "1.5", *model]) == 0
    frame = 64 * 48 * 3 // 2
    tail = (folder / "tail.yuv").read_bytes()
    assert tail == (folder / "all.yuv").read_bytes()[6 * frame :]
    assert f"{len(tail) // frame} frames written of " in capsys.readouterr().err


@pytest.mark.parametrize(("command", "full"), [("encode", True), ("decode", False)])
def test_output_that_takes_no_more(
    command: str, full: bool, clip: Path, stream: Path, checkpoint: Path
) -> None:
    source = clip if command == "encode" else stream
    arguments = (command, source, "-", "--model", checkpoint)
    with open("/dev/full", "wb") as disk:
        process = start(*arguments, stdout=disk if full else subprocess.PIPE)
    if process.stdout:
        process.stdout.close()
    reason = b"No space left on device" if full else b"Broken pipe"
    _, told = process.communicate()
    assert process.returncode == 2
    assert told.startswith(b"neuvid: error: cannot write") and reason in told
    assert told.count(b"\n") == 1


@pytest.mark.parametrize("target", ["x.mp4", "x.y4m", "pictures"])
def test_a_file_that_cannot_grow_leaves_nothing(
    target: str,
    stream: Path,
    checkpoint: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        assert main(["decode", str(stream), target, "--model", str(checkpoint)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"cannot write {target}: File too large" in capsys.readouterr().err
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("sent", "code", "source"),
    [(signal.SIGINT, 130, "-"), (signal.SIGTERM, 143, "PIPE"), (signal.SIGHUP, 129, "-")],
)
def test_an_interrupt_leaves_nothing(
    sent: signal.Signals,
    code: int,
    source: str,
    checkpoint: Path,
    folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pipe = tmp_path_factory.mktemp("pipes") / "clip.yuv"
    os.mkfifo(pipe)
    name = source.replace("PIPE", str(pipe))
    arguments = [name, "x.nvid", "--frame-size", "320x240", "--fps", "25", "--model", checkpoint]
    before = signal.signal(sent, signal.SIG_DFL)  # nohup and "&" have it ignored
    end = os.open(pipe, os.O_RDWR)  # which waits for no other end
    try:
        process = start("encode", *arguments, stdin=end)
    finally:
        signal.signal(sent, before)
    with process, open(end, "wb") as writer:
        assert process.stderr
        writer.write(bytes(320 * 240 * 3 // 2 * 3))  # and the pipe stays open
        writer.flush()
        while not list(folder.iterdir()):
            time.sleep(0.02)
        process.send_signal(sent)
        assert process.wait() == code
        assert process.stderr.read() == b""
    assert not list(folder.iterdir())


def test_encoding_keeps_what_comes_before_damage(
    checkpoint: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = moving_clip(folder / "in.avi", frames=12).read_bytes()
    (folder / "cut.avi").write_bytes(data[: len(data) // 2])
    arguments = ["encode", "cut.avi", "x.nvid", "--model", str(checkpoint)]
    assert main(arguments) == 2
    assert not Path("x.nvid").exists()
    capsys.readouterr()
    assert main([*arguments, "--keep-going", "--json"]) == 1
    out, err = capsys.readouterr()
    numbers = json.loads(out)
    assert "cut.avi: it is cut off; what came before is written" in err
    assert 0 < numbers["frames"] < 12 and numbers["damage"]
    assert main(["verify", "x.nvid", "--model", str(checkpoint)]) == 0


def test_a_log_gets_lines_of_progress(
    clip: Path,
    checkpoint: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ["encode", str(clip), "x.nvid", "--model", str(checkpoint)]
    monkeypatch.setattr(output, "LOG_SECONDS", 0)
    assert main(arguments) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "Encoding" in line]
    assert len(lines) == FRAMES
    assert lines[-1].startswith(f"neuvid: Encoding: {FRAMES} of {FRAMES} frames")


def test_the_page_on_the_command_line_is_current() -> None:
    """Run docs/make_cli.py where it is not."""
    page = [sys.executable, str(ROOT / "docs" / "make_cli.py"), "--check"]
    subprocess.run(page, check=True)
