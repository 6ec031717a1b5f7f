"""Sound and subtitles come through untouched, in sync and cut to the frames."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from clips import Coding, big_buck_bunny, moving_clip, moving_frames, moving_info
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neuvid.errors import CorruptStream
from neuvid.video.clip import ClipReader, create_clip, open_clip
from neuvid.video.copying import SoundPacket
from neuvid.video.passthrough import PassthroughUnpacker
from neuvid.video.subtitles import WRITTEN, packet_of, text_of
from neuvid.video.tags import title_of


class Sound(NamedTuple):
    """A packet as a demuxer gives it, in seconds."""

    data: bytes
    time: Fraction
    duration: Fraction


class Description(NamedTuple):
    """What a container says of a stream."""

    codec: str
    extradata: bytes | None
    language: str | None
    disposition: int


def sound_of(path: Path, kind: str) -> tuple[Description, list[Sound]]:
    """Return a file's first stream of a kind and its packets, without empty subtitles."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        context = stream.codec_context
        description = Description(
            context.name, context.extradata, stream.language, int(stream.disposition)
        )
        packets = []
        for packet in container.demux(stream):
            if packet.size > 2 and packet.pts is not None:
                time, duration = (n * packet.time_base for n in (packet.pts, packet.duration or 0))
                packets.append(Sound(bytes(packet), time, duration))
        return description, packets


def chunks_of(reader: ClipReader) -> list[bytes]:
    """Return all sound and subtitles of a clip."""
    chunks = reader.passthrough_chunks()
    for _ in reader:
        chunks += reader.passthrough_chunks()
    return chunks + reader.passthrough_chunks()


def copy_clip(source: Path, target: Path, start: float = 0, frames: int | None = None) -> list[str]:
    """Copy a clip frame by frame, sound between the frames; return the notes."""
    with (
        open_clip(source, start=start, frames=frames, passthrough=True) as reader,
        create_clip(target, reader.info) as writer,
    ):
        for chunk in reader.passthrough_chunks():
            writer.write_passthrough(chunk)
        for frame in reader:
            writer.write(frame)
            for chunk in reader.passthrough_chunks():
                writer.write_passthrough(chunk)
        for chunk in reader.passthrough_chunks():
            writer.write_passthrough(chunk)
    return reader.notes + writer.notes


@pytest.mark.parametrize(
    ("suffix", "codec", "subtitles"),
    [
        (".mp4", "aac", "mov_text"),
        (".mp4", "libmp3lame", None),
        (".mp4", "libopus", None),
        (".mp4", "ac3", None),
        (".mp4", "flac", None),
        (".mkv", "aac", "subrip"),
        (".mkv", "libopus", "ass"),
        (".mkv", "libmp3lame", None),
        (".mkv", "flac", None),
        (".mkv", "pcm_s16le", None),
        (".mkv", "pcm_s24le", None),
        (".mov", "eac3", None),
    ],
)
def test_packets_are_identical(
    tmp_path: Path, suffix: str, codec: str, subtitles: str | None
) -> None:
    source = moving_clip(
        tmp_path / f"source{suffix}", frames=75, audio=True, audio_codec=codec, subtitles=subtitles
    )
    target = tmp_path / f"target{suffix}"
    assert copy_clip(source, target) == []
    for kind in ("audio", "subtitle") if subtitles else ("audio",):
        before, packets = sound_of(source, kind)
        after, copied = sound_of(target, kind)
        assert copied == packets != []
        if before.codec == "mov_text":  # FFmpeg adds a bit rate to its parameters
            before, after = before._replace(extradata=None), after._replace(extradata=None)
        assert after == before
    frames = [[f.pts * r.info.time_base for f in r] for r in map(open_clip, (source, target))]
    assert frames[0] == frames[1]


def test_real_clip_keeps_its_sound(tmp_path: Path) -> None:
    assert copy_clip(big_buck_bunny(), tmp_path / "copy.mp4", frames=30) == []
    _, packets = sound_of(big_buck_bunny(), "audio")
    _, copied = sound_of(tmp_path / "copy.mp4", "audio")
    assert copied == packets[: len(copied)]
    end = Fraction(30, 25)
    assert copied[-1].time < end <= copied[-1].time + copied[-1].duration


def test_samples_of_pcm_in_mov_are_identical(tmp_path: Path) -> None:
    source = moving_clip(tmp_path / "source.mov", audio=True, audio_codec="pcm_s16le")
    for suffix in (".mov", ".mp4"):  # these cut pcm into packets as they like
        assert copy_clip(source, tmp_path / f"copy{suffix}") == []
        samples = [
            b"".join(packet.data for packet in sound_of(path, "audio")[1])
            for path in (source, tmp_path / f"copy{suffix}")
        ]
        assert samples[0] == samples[1]


def test_transport_stream_becomes_playable_mp4(tmp_path: Path) -> None:
    source = moving_clip(tmp_path / "source.ts", frames=50, audio=True)
    copy_clip(source, tmp_path / "copy.mp4")
    samples = []
    for path in (source, tmp_path / "copy.mp4"):
        with av.open(str(path)) as container:
            samples.append(sum(frame.samples for frame in container.decode(audio=0)))
    assert samples[0] == samples[1] > 90000


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("start", [0, 0.6, 2.2])
def test_sound_is_cut_to_the_frames(tmp_path: Path, suffix: str, start: float) -> None:
    source = moving_clip(tmp_path / f"source{suffix}", frames=100, audio=True)
    _, packets = sound_of(source, "audio")
    with open_clip(source) as whole:
        times = [frame.pts * whole.info.time_base for frame in whole]
    begin = (
        next(time for time in times if time - times[0] >= Fraction(str(start)))
        if start
        else Fraction(0)
    )
    with open_clip(source, start=start, frames=25, passthrough=True) as reader:
        unpacker = PassthroughUnpacker()
        cut = [packet for chunk in chunks_of(reader) for packet in unpacker.feed(chunk)]
        first = Fraction(reader.info.start) * reader.info.time_base
    tick = unpacker.streams[0].time_base
    unpacker.close()
    inside = [
        packet
        for packet in packets
        if (not start or packet.time + packet.duration > begin) and packet.time < begin + first + 1
    ]
    assert [packet.data for packet in cut] == [packet.data for packet in inside]
    for packet, original in zip(cut, inside, strict=True):
        assert abs(packet.pts * tick - (original.time - begin)) <= tick
    assert cut[0].pts * tick <= first
    assert (cut[-1].pts + cut[-1].duration) * tick >= first + 1 - tick


def test_subtitle_on_show_at_the_start_is_kept(tmp_path: Path) -> None:
    source = moving_clip(tmp_path / "source.mkv", frames=100, subtitles="subrip")
    copy_clip(source, tmp_path / "copy.mkv", start=2.4, frames=25)
    _, lines = sound_of(tmp_path / "copy.mkv", "subtitle")
    assert lines == [
        Sound(b"line 2", Fraction(0), Fraction(4, 10)),
        Sound(b"line 3", Fraction(6, 10), Fraction(8, 10)),
    ]


@pytest.mark.parametrize(
    ("source", "codec", "target", "written"),
    [
        (".mp4", "mov_text", ".mkv", "srt"),
        (".mp4", "mov_text", ".webm", "webvtt"),
        (".mkv", "subrip", ".mp4", "mov_text"),
        (".mkv", "ass", ".mov", "mov_text"),
        (".mkv", "webvtt", ".m4v", "mov_text"),
    ],
)
def test_text_of_subtitles_stays_in_all_containers(
    tmp_path: Path, source: str, codec: str, target: str, written: str
) -> None:
    clip = moving_clip(tmp_path / f"in{source}", frames=75, subtitles=codec)
    (note,) = copy_clip(clip, tmp_path / f"out{target}")
    assert note.endswith("without styles")
    description, lines = sound_of(tmp_path / f"out{target}", "subtitle")
    assert (description.codec, description.language) == (written, "fra")
    assert [text_of(written, line.data) for line in lines] == ["line 0", "line 1", "line 2"]
    times = [(line.time, line.duration) for line in lines]
    assert times == [(Fraction(second), Fraction(8, 10)) for second in range(3)]


@pytest.mark.parametrize(
    ("codec", "data", "text"),
    [
        ("srt", "<i>Sie</i> sagt:\n<3 & {\\an8}<font color=red>5 > 4", "Sie sagt:\n<3 & 5 > 4"),
        ("webvtt", "<v Anna>a &lt; b &amp; c</v>", "a < b & c"),
        ("ass", "4,0,Default,,0,0,0,,{\\pos(1,2)}Ja, {\\b1}ja\\Nnein\\hso", "Ja, ja\nnein so"),
        ("mov_text", "\0\3日styl", "日"),
        ("mov_text", "", ""),
    ],
)
def test_text_of_subtitles_has_no_styles(codec: str, data: str, text: str) -> None:
    assert text_of(codec, data.encode()) == text
    for written in set(WRITTEN.values()):
        assert text_of(written, packet_of(written, text)) == text


@given(codec=st.sampled_from(["srt", "webvtt", "ass", "mov_text"]), data=st.binary())
@example("ass", b"{\\" * 200_000)
@example("webvtt", b"&#" + b"9" * 5000 + b";")
@settings(max_examples=50, deadline=None)
def test_any_bytes_of_subtitles_are_some_text(codec: str, data: bytes) -> None:
    text = text_of(codec, data)
    for written in set(WRITTEN.values()):
        assert packet_of(written, text)[:2] or not text


def test_clip_that_begins_before_zero_is_moved_with_its_sound(tmp_path: Path) -> None:
    source = moving_clip(tmp_path / "source.mp4", frames=50, audio=True)
    early = tmp_path / "early.ts"
    options = {"avoid_negative_ts": "disabled"}
    with (
        av.open(str(source)) as clip,
        av.open(str(early), "w", container_options=options) as output,
    ):
        streams = {s.index: output.add_stream_from_template(s) for s in clip.streams}
        for packet in clip.demux():
            if packet.size and packet.pts is not None and packet.dts is not None:
                shift = round(Fraction(2, 5) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    with open_clip(early, passthrough=True) as reader:
        assert reader.info.start == 0
        assert len(list(reader)) == 50
        moved = unpack(reader.passthrough_chunks())
    _, original = sound_of(source, "audio")
    for sound, before in zip(moved, original, strict=True):
        assert abs(sound.pts / 90000 - before.time) < 0.001


def test_chunks_come_while_frames_are_read() -> None:
    with open_clip(big_buck_bunny(), passthrough=True) as reader:
        header = reader.passthrough_chunks()
        sizes = []
        for _ in reader:
            sizes.append(sum(map(len, reader.passthrough_chunks())))
        last = sum(map(len, reader.passthrough_chunks()))
    assert header
    assert sum(size > 0 for size in sizes) == 5  # one a second
    assert max(last, *sizes) < 2.5 * sum(sizes) / 5


def test_clip_is_silent_unless_sound_is_asked_for(tmp_path: Path) -> None:
    source = moving_clip(tmp_path / "source.mp4", audio=True)
    with open_clip(source) as reader:
        assert chunks_of(reader) == []
    with open_clip(moving_clip(tmp_path / "silent.mp4"), passthrough=True) as reader:
        assert chunks_of(reader) == []


def test_what_a_container_cannot_hold_is_noted(tmp_path: Path) -> None:
    source = moving_clip(tmp_path / "source.mkv", audio=True, subtitles="subrip")
    assert copy_clip(source, tmp_path / "copy.webm") == [
        "webm cannot hold audio (aac)",
        "subtitles (srt) are written as webvtt, without styles",
    ]
    copy_clip(source, tmp_path / "copy.mp4")
    assert len(sound_of(tmp_path / "copy.mp4", "audio")[1]) > 2
    silent = ["bare planes cannot hold sound, subtitles"]
    assert copy_clip(source, tmp_path / "copy.y4m") == silent
    pictures = ["a folder of pictures cannot hold sound, subtitles"]
    assert copy_clip(source, tmp_path / "pictures", frames=2) == pictures


def test_what_cannot_be_carried_is_noted(tmp_path: Path) -> None:
    source = moving_clip(tmp_path / "source.mkv", audio=True)
    with av.open(str(source)) as clip, av.open(str(tmp_path / "font.mkv"), "w") as output:
        streams = {s.index: output.add_stream_from_template(s) for s in clip.streams}
        output.add_attachment("font.ttf", "application/x-truetype-font", b"no font at all")
        for packet in clip.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    notes = copy_clip(tmp_path / "font.mkv", tmp_path / "copy.mkv")
    assert len(notes) == 1 and "attachment" in notes[0] and "is left out" in notes[0]


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("sound") / "clip.mp4"
    moving_clip(path, frames=75, audio=True, subtitles="mov_text")
    with open_clip(path, passthrough=True) as reader:
        return chunks_of(reader)


def unpack(pieces: list[bytes]) -> list[SoundPacket]:
    unpacker = PassthroughUnpacker()
    try:
        return [packet for piece in pieces for packet in unpacker.feed(piece)]
    finally:
        unpacker.close()


def test_bytes_may_come_in_any_pieces(chunks: list[bytes]) -> None:
    stream = b"".join(chunks)
    whole = unpack([stream])
    assert len(whole) > 100
    assert unpack(chunks) == whole
    assert unpack([stream[n : n + 7] for n in range(0, len(stream), 7)]) == whole


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_is_caught_or_harmless(chunks: list[bytes], data: st.DataObject) -> None:
    stream = bytearray(b"".join(chunks))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 3000) | st.integers(0, len(stream) - 1))
        stream[place] ^= data.draw(st.integers(1, 255))
    del stream[data.draw(st.integers(len(stream) // 2, len(stream))) :]
    try:
        packets = unpack([bytes(stream)])
    except CorruptStream:
        return
    assert sum(len(packet.data) for packet in packets) <= len(stream)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_sound_cannot_stop_the_video(
    chunks: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    stream = bytearray(b"".join(chunks[1:]))
    for _ in range(3):
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    info = moving_info()
    path = tmp_path_factory.mktemp("damaged") / "clip.mp4"
    with create_clip(path, info) as writer:
        writer.write_passthrough(chunks[0])
        with suppress(CorruptStream):
            writer.write_passthrough(bytes(stream))
        for frame in moving_frames(info, 3):
            writer.write(frame)
    with open_clip(path) as reader:
        assert len(list(reader)) == 3


def test_description_must_come_first(chunks: list[bytes], tmp_path: Path) -> None:
    info = moving_info()
    late = pytest.raises(CorruptStream, match="after the first frame")
    with late, create_clip(tmp_path / "clip.mp4", info) as writer:
        writer.write(next(moving_frames(info, 1)))
        writer.write_passthrough(chunks[0])
    with pytest.raises(CorruptStream), create_clip(tmp_path / "clip.mp4", info) as writer:
        writer.write_passthrough(chunks[1])
    assert list(tmp_path.iterdir()) == []


def samples_of(path: Path) -> NDArray[np.generic]:
    """Return all samples of a file's sound that are played, one channel after the other."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def lead_of(path: Path) -> float:
    """Return by how many seconds a file's sound is played before its pictures."""
    with av.open(str(path)) as container:
        shown = next(container.decode(container.streams.video[0])).time
    with av.open(str(path)) as container:
        played = next(container.decode(container.streams.audio[0])).time
    return (shown or 0) - (played or 0)


@pytest.mark.parametrize(
    ("source", "codec", "target"),
    [
        (".mov", "pcm_mulaw", ".mkv"),
        (".mov", "pcm_alaw", ".mov"),
        (".avi", "adpcm_ms", ".mkv"),
        (".avi", "adpcm_ima_wav", ".mkv"),
        (".asf", "wmav2", ".mkv"),
        (".mkv", "libopus", ".mkv"),
        (".mkv", "libopus", ".webm"),
        (".mkv", "aac", ".mov"),
        (".3gp", "libopencore_amrnb", ".mkv"),
        (".3gp", "libopencore_amrnb", ".mov"),
    ],
)
def test_samples_are_identical(tmp_path: Path, source: str, codec: str, target: str) -> None:
    """Codecs that a container holds by a foreign tag, and the padding at both ends of others."""
    coding = Coding(codec="mpeg4")
    clip = moving_clip(
        tmp_path / f"in{source}", frames=10, audio=True, audio_codec=codec, coding=coding
    )
    assert copy_clip(clip, tmp_path / f"out{target}") == []
    np.testing.assert_array_equal(samples_of(tmp_path / f"out{target}"), samples_of(clip))
    assert lead_of(tmp_path / f"out{target}") == pytest.approx(lead_of(clip), abs=0.001)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_aac_of_mp4_is_played_as_long_as_it_was(tmp_path: Path, suffix: str) -> None:
    """Priming and padding of its first and last packets are not."""
    clip = moving_clip(tmp_path / "in.mp4", frames=10, audio=True)
    assert copy_clip(clip, tmp_path / f"out{suffix}") == []
    played, expected = samples_of(tmp_path / f"out{suffix}"), samples_of(clip)
    if suffix == ".mkv":
        assert played.shape == (2, 19200)
    np.testing.assert_array_equal(played, expected[:, : played.shape[1]])
    assert lead_of(tmp_path / f"out{suffix}") == lead_of(clip) == 0


def test_aac_stays_as_long_from_container_to_container(tmp_path: Path) -> None:
    """Each tells of the padding in its way: as a shorter packet, or beside a whole one."""
    clip = moving_clip(tmp_path / "0.mp4", frames=10, audio=True, sound_span=(0, 0.38))
    for number, suffix in enumerate((".mkv", ".mp4", ".mkv", ".mp4"), start=1):
        copy_clip(tmp_path / clip.name, tmp_path / f"{number}{suffix}")
        clip = tmp_path / f"{number}{suffix}"
        if suffix == ".mkv":
            played = samples_of(clip).shape[1]
        else:
            last = sound_of(clip, "audio")[1][-1]
            played = round(48000 * (last.time + last.duration))
        assert abs(played - 18240) <= 48 * number  # a millisecond for each


def test_sound_of_matroska_starts_on_the_sample_in_mp4(tmp_path: Path) -> None:
    """The priming of Opus is 312 samples, 6.5 milliseconds."""
    clip = moving_clip(tmp_path / "in.mkv", frames=10, audio=True, audio_codec="libopus")
    copy_clip(clip, tmp_path / "out.mp4")
    expected = samples_of(clip)
    played = samples_of(tmp_path / "out.mp4")
    np.testing.assert_array_equal(played[:, : expected.shape[1]], expected)
    assert sound_of(tmp_path / "out.mp4", "audio")[1][0].time == Fraction(-312, 48000)


def test_latm_comes_back_from_transport_streams(tmp_path: Path) -> None:
    clip = moving_clip(
        tmp_path / "in.ts", frames=10, audio=True, container_options={"mpegts_flags": "latm"}
    )
    assert sound_of(clip, "audio")[0].codec == "aac_latm"
    assert copy_clip(clip, tmp_path / "out.mkv") == []
    np.testing.assert_array_equal(samples_of(tmp_path / "out.mkv"), samples_of(clip))
    assert copy_clip(clip, tmp_path / "out.mp4") == ["mp4 cannot hold audio (aac_latm)"]


@pytest.mark.parametrize(
    ("suffix", "language"), [(".mov", "ger"), (".mp4", "deu"), (".mkv", "deu")]
)
def test_languages_stay(tmp_path: Path, suffix: str, language: str) -> None:
    """QuickTime has another word for the same language."""
    clip = moving_clip(tmp_path / "in.mkv", frames=2, audio=True)
    copy_clip(clip, tmp_path / f"out{suffix}")
    assert sound_of(tmp_path / f"out{suffix}", "audio")[0].language == language


def test_what_a_container_cannot_hold_at_all_is_noted(tmp_path: Path) -> None:
    clip = moving_clip(tmp_path / "in.mov", frames=5, audio=True, audio_codec="pcm_mulaw")
    assert copy_clip(clip, tmp_path / "out.mp4") == ["mp4 cannot hold audio (pcm_mulaw)"]
    with open_clip(tmp_path / "out.mp4") as written:
        assert len(list(written)) == 5


@pytest.mark.parametrize("span", [(0.3, 0.5), (0.0, 2.0), (1.0, 1.5)])
def test_sound_may_be_later_and_longer_than_the_pictures(
    tmp_path: Path, span: tuple[float, float]
) -> None:
    clip = moving_clip(
        tmp_path / "in.mkv", frames=10, audio=True, audio_codec="ac3", sound_span=span
    )
    copy_clip(clip, tmp_path / "out.mkv")
    assert sound_of(tmp_path / "out.mkv", "audio") == sound_of(clip, "audio")


TAGS = {"title": "Im Garten", "artist": "日本", "mood": "glad"}
CHAPTERS = [(0, 200, "Eins"), (200, 400, "Zwei")]


def told(path: Path) -> tuple[dict[str, str], list[tuple[float, float, str]]]:
    """Return the tags that are expected, by their lower case, and the chapters in seconds."""
    with av.open(str(path)) as container:
        tags = {name.lower(): text for name, text in container.metadata.items()}
        chapters = [
            (
                float(each["start"] * (each["time_base"] or 0)),
                float(each["end"] * (each["time_base"] or 0)),
                each["metadata"]["title"],
            )
            for each in container.chapters()
        ]
    return {name: tags[name] for name in TAGS if name in tags}, chapters


@pytest.mark.parametrize("audio", [False, True])
@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4", ".mov"])
def test_tags_and_chapters_stay(tmp_path: Path, suffix: str, audio: bool) -> None:
    codec = "libopus" if suffix == ".webm" else "aac"
    clip = moving_clip(
        tmp_path / "in.mkv",
        frames=10,
        audio=audio,
        audio_codec=codec,
        tags=TAGS,
        chapters=CHAPTERS,
    )
    notes = copy_clip(clip, tmp_path / f"out{suffix}")
    tags, chapters = told(tmp_path / f"out{suffix}")
    assert chapters == [(0.0, 0.2, "Eins"), (0.2, 0.4, "Zwei")]
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        video = container.streams.video[0]
        assert (title_of(video), video.language) == ("Hauptfilm", "fra")
    lost = [name for name in TAGS if name not in tags]
    assert tags.items() <= TAGS.items() and len(lost) <= 1
    assert ["cannot hold the tags" in note for note in notes] == [True] * len(lost)
    assert copy_clip(clip, tmp_path / "out.y4m")[-1].endswith("tags, chapters")


def test_chapters_are_cut_to_the_frames(tmp_path: Path) -> None:
    clip = moving_clip(tmp_path / "in.mkv", frames=10, chapters=CHAPTERS)
    copy_clip(clip, tmp_path / "out.mkv", start=0.28)
    assert told(tmp_path / "out.mkv")[1] == [(0.0, 0.12, "Zwei")]
    late = moving_clip(tmp_path / "late.mkv", frames=10, chapters=CHAPTERS)
    with (
        open_clip(late, passthrough=True) as reader,
        create_clip(tmp_path / "cut.mp4", reader.info, sound_start=Fraction(1, 4)) as writer,
    ):
        writer.write_passthrough(b"".join(chunks_of(reader)))
        for frame in moving_frames(reader.info, 2):
            writer.write(frame)
    assert told(tmp_path / "cut.mp4")[1] == [(0.0, 0.15, "Zwei")]


def test_closed_captions_are_noted(tmp_path: Path) -> None:
    """Captions lie in messages (SEI) beside the pictures of H.264."""
    plain = moving_clip(tmp_path / "plain.h264", frames=4)
    assert copy_clip(plain, tmp_path / "out.mkv") == []
    pair = bytes([0xFC, 0x14, 0xAC])  # of CEA-608: resume direct captioning
    message = bytes([0xB5, 0, 0x31]) + b"GA94" + bytes([3, 0x41, 0xFF]) + pair + b"\xff"
    nal = bytes([0, 0, 0, 1, 6, 4, len(message)]) + message + b"\x80"
    picture = b"\0\0\x01\x65"  # begins the first picture
    data = plain.read_bytes().replace(picture, nal + picture, 1)
    (tmp_path / "in.h264").write_bytes(data)
    notes = copy_clip(tmp_path / "in.h264", tmp_path / "out.mkv")
    assert notes == ["closed captions in the pictures are left out"]


@pytest.fixture(scope="module")
def rich_chunks(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return blocks of all kinds."""
    path = tmp_path_factory.mktemp("rich") / "clip.mkv"
    moving_clip(path, audio=True, audio_codec="libopus", tags=TAGS, chapters=CHAPTERS)
    with open_clip(path, passthrough=True) as reader:
        return chunks_of(reader)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_tags_and_side_data_are_caught_or_harmless(
    rich_chunks: list[bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    stream = bytearray(b"".join(rich_chunks))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 300) | st.integers(0, len(stream) - 1))
        stream[place] ^= data.draw(st.integers(1, 255))
    info = moving_info((16, 16))
    path = tmp_path_factory.mktemp("damaged") / "clip.mkv"
    with suppress(CorruptStream), create_clip(path, info) as writer:
        writer.write_passthrough(bytes(stream))
        writer.write(next(moving_frames(info, 1)))
    assert not list(path.parent.glob("*.part"))
