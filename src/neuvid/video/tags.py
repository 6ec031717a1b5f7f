"""What a file says of itself: its tags (title, artist, ...) and its chapters."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from fractions import Fraction

import av
from av.container import Container, OutputContainer
from av.packet import Packet
from av.stream import Stream

from neuvid.errors import CorruptStream
from neuvid.video.blocks import BlockFields, blob, signed, varint

TAG_LIMIT = 1000  # tags of a file or of a chapter
CHAPTER_LIMIT = 10_000
TIME_LIMIT = 1 << 62  # ticks
INT32_MAX = (1 << 31) - 1
OF_THE_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder", "software"}
QUICKTIME_LANGUAGES = {  # words of ISO 639-2/T in whose place FFmpeg knows others in QuickTime
    "bod": "tib",
    "cym": "wel",
    "deu": "ger",
    "ell": "gre",
    "eus": "baq",
    "fas": "per",
    "hye": "arm",
    "isl": "ice",
    "kat": "geo",
    "mkd": "mac",
    "msa": "may",
    "mya": "bur",
    "nld": "dut",
    "sqi": "alb",
    "swe": "sve",
    "zho": "chi",
}
NO_LANGUAGE = "und"
NO_DATE = "1970-01-01T00:00:00"  # what tools write for a time of creation that they do not know


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a clip; `start` and `end` count units of `time_base` seconds."""

    start: int
    end: int
    time_base: Fraction
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags of a file and of its video stream, and chapters."""

    tags: dict[str, str] = field(default_factory=dict)
    video: dict[str, str] = field(default_factory=dict)
    chapters: list[Chapter] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Say whether there is anything."""
        return bool(self.tags or self.video or self.chapters)

    @property
    def contents(self) -> list[str]:
        """What there is, in words."""
        tags = ["tags"] if self.tags or self.video else []
        return tags + (["chapters"] if self.chapters else [])

    def moved(self, origin: Fraction) -> Tags:
        """Count the time of chapters from `origin` seconds; those that end before it are gone."""
        moved = []
        for chapter in self.chapters:
            shift = round(origin / chapter.time_base)
            start, end = max(chapter.start - shift, 0), chapter.end - shift
            if end > 0:
                moved.append(replace(chapter, start=start, end=end))
        return replace(self, chapters=moved)


def tags_of(container: Container, video: Stream) -> Tags:
    """Return what a file says of itself and its video, apart from what is its container's."""
    tags = {
        name: text
        for name, text in container.metadata.items()
        if name.lower() not in OF_THE_CONTAINER and not text.startswith(NO_DATE)
    }
    chapters = [
        Chapter(each["start"], each["end"], each["time_base"], each["metadata"])
        for each in container.chapters()
        if each["time_base"] and each["end"] >= each["start"]
    ]
    return Tags(tags, stream_tags(title_of(video), video.language or ""), chapters)


def title_of(stream: Stream) -> str:
    """Return a stream's title, empty where it has none."""
    return stream.metadata.get("title") or stream.metadata.get("name", "")  # as in mp4


def stream_tags(title: str, language: str) -> dict[str, str]:
    """Return the tags of a stream, without those that say nothing."""
    tags = {"title": title, "language": language}
    return {name: text for name, text in tags.items() if text not in ("", NO_LANGUAGE)}


def add_stream_tags(output: OutputContainer, stream: Stream, tags: dict[str, str]) -> None:
    """Write what `stream_tags` returned into a stream of a file whose header is not written yet."""
    stream.metadata.update(tags)
    if output.format.name == "mov" and "language" in tags:
        language = tags["language"]
        stream.metadata["language"] = QUICKTIME_LANGUAGES.get(language, language)


def add_tags(output: OutputContainer, tags: Tags) -> None:
    """Write tags and chapters into a file whose header is not written yet."""
    output.metadata.update(tags.tags)
    add_stream_tags(output, output.streams[0], tags.video)
    output.set_chapters(
        [
            {
                "id": number,
                "start": chapter.start,
                "end": chapter.end,
                "time_base": chapter.time_base,
                "metadata": chapter.tags,
            }
            for number, chapter in enumerate(tags.chapters, 1)
        ]
    )


def lost_tags(tags: Tags, container: str) -> list[str]:
    """Return the names of the tags that a container does not hold, by writing and reading one."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        packet: Packet[Stream] = Packet(b"\0")  # a file without any cannot be read
        codec = "vp8" if container == "webm" else "mpeg4"
        packet.stream = output.add_mux_stream(codec, width=16, height=16)
        packet.time_base, packet.pts, packet.dts = Fraction(1, 25), 0, 0
        add_tags(output, Tags(tags.tags))
        output.mux(packet)
    file.seek(0)
    with av.open(file, "r", metadata_errors="replace") as written:
        held = {name.lower() for name in written.metadata}
    return [name for name in tags.tags if name.lower() not in held]


def write_tags(tags: Tags) -> bytes:
    """Return tags and chapters as bytes, up to the limits."""
    body = _write(tags.tags) + _write(tags.video)
    for chapter in tags.chapters[:CHAPTER_LIMIT]:
        body += b"".join(map(varint, chapter.time_base.as_integer_ratio()))
        body += signed(chapter.start) + varint(chapter.end - chapter.start) + _write(chapter.tags)
    return body


def read_tags(fields: BlockFields) -> Tags:
    """Read what `write_tags` wrote; raise CorruptStream for anything else."""
    tags, video = _read(fields), _read(fields)
    chapters: list[Chapter] = []
    while fields.left:
        numerator, denominator = fields.varint(), fields.varint()
        if not (0 < numerator <= INT32_MAX and 0 < denominator <= INT32_MAX):
            raise CorruptStream("a chapter has no sound time base")
        start, duration = fields.signed(), fields.varint()
        if abs(start) + duration > TIME_LIMIT or len(chapters) == CHAPTER_LIMIT:
            raise CorruptStream("a chapter has no sound time, or there are too many")
        time_base = Fraction(numerator, denominator)
        chapters.append(Chapter(start, start + duration, time_base, _read(fields)))
    return Tags(tags, video, chapters)


def _write(tags: dict[str, str]) -> bytes:
    kept = list(tags.items())[:TAG_LIMIT]
    return varint(len(kept)) + b"".join(blob(text.encode()) for tag in kept for text in tag)


def _read(fields: BlockFields) -> dict[str, str]:
    count = fields.varint()
    if count > TAG_LIMIT:
        raise CorruptStream(f"there are {count} tags; allowed is 0..{TAG_LIMIT}")
    return {fields.text(): fields.text() for _ in range(count)}
