"""Times made whole: those that a container tells wrongly or not at all, and clocks that restart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame

BACK = Fraction(1, 10)  # seconds by which times may go back before it is a restart
LEAP = Fraction(10)  # seconds by which they may be ahead of all streams
PATIENCE = Fraction(2)  # seconds in which all streams are expected to restart
MOST_WAITING = 4096  # packets in that time


class PictureTimes:
    """Gives pictures rising times, in ticks; where there is none, it is `step` ticks later.

    A picture's own time counts, or that of the packet that completed it where the former failed
    to rise more often so far: some files store decoding times as both.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._shown = _Series()
        self._decoded = _Series()
        self._last: int | None = None

    def time_of(self, picture: VideoFrame) -> int:
        """Return the time of the next picture."""
        self._shown.add(picture.pts)
        self._decoded.add(picture.dts)
        trusted = self._shown.faults <= self._decoded.faults
        ticks = picture.dts if picture.pts is None or not trusted else picture.pts
        if self._last is None:
            self._last = ticks or 0
        elif ticks is None:
            self._last += self._step
        else:
            self._last = max(ticks, self._last + 1)
        return self._last


@dataclass(slots=True)
class _Series:
    """Times of one kind, and how often they did not rise."""

    faults: int = 0
    last: int | None = None

    def add(self, ticks: int | None) -> None:
        if ticks is not None:
            self.faults += self.last is not None and ticks <= self.last
            self.last = ticks


class SteadyClock:
    """Counts the times of a recording's packets on where its clock starts again or leaps.

    Packets wait until all sound and video has restarted, so that the new segment begins where the
    last stream ended, and its streams stay in step. Where the stream with index `leader` does
    not restart, the others only lost their way: each goes on where it was.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._segment = 0
        self._offset = Fraction(0)  # seconds, of this segment
        self._turn = (Fraction(0), Fraction(0))  # last time by the old clock, first by the new
        self._tracks: dict[int, _Track] = {}
        self._waiting: list[Packet[Stream]] = []

    def steady(self, packets: Iterable[Packet[Stream]]) -> Iterator[Packet[Stream]]:
        """Yield the packets with times that go on."""
        for packet in packets:
            track = self._track(packet)
            if not packet.size:  # the end of a stream
                yield from self._settle()
                yield packet
            elif self._has_restarted(packet, track):
                self._waiting.append(packet)
                if self._is_complete():
                    yield from self._settle()
            else:
                yield self._count_on(packet, track)

    def _track(self, packet: Packet[Stream]) -> _Track:
        if packet.stream_index not in self._tracks:
            continuous = packet.stream.type in ("audio", "video")
            track = _Track(continuous, self._segment, self._offset)
            self._tracks[packet.stream_index] = track
        return self._tracks[packet.stream_index]

    def _has_restarted(self, packet: Packet[Stream], track: _Track) -> bool:
        """Return whether a packet has to wait, being the first of its stream to do so or not."""
        seconds = _seconds(packet)
        if track.waits or seconds is None:
            return track.waits
        if self._waiting:
            track.waits = self._is_new(seconds)
        elif track.continuous and track.last is not None:
            counted = seconds + track.offset
            ahead = max(each.end for each in self._continuous()) + LEAP
            track.waits = not track.last - BACK <= counted <= ahead
            self._turn = (track.last - track.offset, seconds) if track.waits else self._turn
        return track.waits

    def _is_new(self, seconds: Fraction) -> bool:
        """Return whether a time is by the new clock, being nearer to its start."""
        old, new = self._turn
        return abs(seconds - new) < abs(seconds - old)

    def _is_complete(self) -> bool:
        times = [seconds for packet in self._waiting if (seconds := _seconds(packet)) is not None]
        late = max(times) - min(times) > PATIENCE or len(self._waiting) >= MOST_WAITING
        return late or all(track.waits for track in self._continuous())

    def _settle(self) -> Iterator[Packet[Stream]]:
        """Give the waiting packets their times."""
        waiting, self._waiting = self._waiting, []
        tracks = {packet.stream_index: self._tracks[packet.stream_index] for packet in waiting}
        firsts: dict[int, Fraction] = {}
        for packet in waiting:
            if (seconds := _seconds(packet)) is not None:
                firsts.setdefault(packet.stream_index, seconds)
        if self._leader in firsts:
            self._segment += 1
            self._offset = max(track.end for track in self._continuous()) - min(firsts.values())
        for index, track in tracks.items():
            track.waits = False
            if self._leader in firsts:
                track.segment, track.offset = self._segment, self._offset
            elif index in firsts:
                track.offset = track.end - firsts[index]
        for packet in waiting:
            yield self._count_on(packet, tracks[packet.stream_index])

    def _continuous(self) -> list[_Track]:
        tracks = self._tracks.values()
        return [each for each in tracks if each.continuous and each.last is not None]

    def _count_on(self, packet: Packet[Stream], track: _Track) -> Packet[Stream]:
        seconds = _seconds(packet)
        if seconds is None:
            return packet
        if track.segment != self._segment and self._is_new(seconds):
            track.segment, track.offset = self._segment, self._offset
        track.last = seconds + track.offset
        track.duration = (packet.duration or 0) * packet.time_base
        ticks = round(track.offset / packet.time_base)
        if ticks:
            packet.pts = None if packet.pts is None else packet.pts + ticks
            packet.dts = None if packet.dts is None else packet.dts + ticks
        return packet


@dataclass(slots=True)
class _Track:
    """Where a stream is, in seconds; `offset` is added to its clock since `segment` began."""

    continuous: bool  # sound or video: subtitles may pause
    segment: int
    offset: Fraction
    last: Fraction | None = None
    duration: Fraction = Fraction(0)  # of the last packet
    waits: bool = False

    @property
    def end(self) -> Fraction:
        return (self.last or Fraction(0)) + self.duration


def _seconds(packet: Packet[Stream]) -> Fraction | None:
    """Return a packet's time by its own clock."""
    ticks = packet.pts if packet.dts is None else packet.dts
    return None if ticks is None else ticks * packet.time_base
