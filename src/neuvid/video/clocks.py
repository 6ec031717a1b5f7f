"""Whether times tell places in a recording, whose clock may start again."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

LOOKS = Fraction(2)  # seconds from one look at a clock to the next


class Moment(NamedTuple):
    """What the clock says at a place in the file."""

    place: int  # bytes
    seconds: Fraction


def first_moment(packets: Iterable[Packet[VideoStream]]) -> Moment | None:
    """Return the place and time of the first packet that has both."""
    for packet in packets:
        if packet.pos is not None and packet.dts is not None:
            return Moment(packet.pos, packet.dts * packet.time_base)
    return None


def clock_runs(container: InputContainer, stream: VideoStream, end: Moment) -> bool:
    """Return whether the clock runs evenly from the beginning to `end`, by many short looks.

    The container is left at any place. Nothing shows what is joined in that lasts shorter than
    from look to look. Raises FFmpegError where the container knows no places.
    """
    begin = _look(container, stream, 0)
    if begin is None or begin.place >= end.place:
        return False
    looks = max(1, ceil((end.seconds - begin.seconds) / LOOKS))
    most = ceil((end.place - begin.place) / looks)  # bytes
    spans = [(begin, end)]
    while spans:
        first, last = spans.pop()
        if first.seconds >= last.seconds:
            return False
        if last.place - first.place > most or last.seconds - first.seconds > LOOKS:
            middle = _look(container, stream, (first.place + last.place) // 2)
            if middle is None or not first.place < middle.place < last.place:
                return False
            spans += [(middle, last), (first, middle)]
    return True


def _look(container: InputContainer, stream: VideoStream, place: int) -> Moment | None:
    go_to(container, place)
    return first_moment(container.demux(stream))


def go_to(container: InputContainer, place: int) -> None:
    """Read on from `place` bytes; raise FFmpegError where the container knows no places."""
    container.seek(place, unsupported_byte_offset=True)
