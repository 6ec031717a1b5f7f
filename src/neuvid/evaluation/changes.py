"""What changed between two evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neuvid.evaluation.bdrate import Delta, difference, mean_of_known
from neuvid.evaluation.results import Curve, Evaluation

MEAN = "mean"


@dataclass(frozen=True, slots=True)
class Change:
    """How the curve of a codec for a clip changed.

    Seconds are shares: 0.1 is a tenth more than before, None where they were not measured.
    """

    codec: str
    clip: str
    delta: Delta
    encode_seconds: float | None
    decode_seconds: float | None


def changes(before: Evaluation, after: Evaluation, metric: str) -> Iterator[Change]:
    """Yield the changes of all curves of the same frames, and of each codec their mean."""
    same = {clip.digest for clip in before.clips}
    for codec in after.codecs:
        found = []
        for clip in (clip for clip in after.clips if clip.digest in same):
            old, new = before.curve(clip.name, codec), after.curve(clip.name, codec)
            if old and new:
                found.append(_change(old, new, metric))
        yield from found
        if len(found) > 1:
            yield _mean_change(codec, found)


def changed_facts(before: Evaluation, after: Evaluation) -> Iterator[str]:
    """Yield in words what else differs: codecs, clips, versions, commands and machines."""
    yield from _gone_and_new("codec", before.codecs, after.codecs)
    old_clips, new_clips = ({clip.name: clip for clip in e.clips} for e in (before, after))
    yield from _gone_and_new("clip", list(old_clips), list(new_clips))
    for name, clip in new_clips.items():
        if name in old_clips and clip.digest != old_clips[name].digest:
            yield f"clip {name}: other frames than before"
    for what in ("ffmpeg", "machine"):
        old, new = getattr(before, what), getattr(after, what)
        if old != new:
            yield f"{what}: {old} before, {new} after"
    for codec in after.codecs:
        yield from _changed_codec(before, after, codec)


def _changed_codec(before: Evaluation, after: Evaluation, codec: str) -> Iterator[str]:
    old, new = (
        next((curve for curve in evaluation.curves if curve.codec == codec), None)
        for evaluation in (before, after)
    )
    if old is None or new is None:
        return
    pairs = {
        "version": (old.version, new.version),
        "threads": (old.threads, new.threads),
        "encoding": (old.points[0].encode_command, new.points[0].encode_command),
        "decoding": (old.points[0].decode_command, new.points[0].decode_command),
    }
    for what, (first, second) in pairs.items():
        if first != second:
            yield f"{codec}: {what} {first} before, {second} after"


def _change(old: Curve, new: Curve, metric: str) -> Change:
    delta = difference(old, new, metric)
    shares = (
        _share(
            [getattr(point, name) for point in old.points],
            [getattr(point, name) for point in new.points],
        )
        for name in ("encode_seconds", "decode_seconds")
    )
    return Change(new.codec, new.clip, delta, *shares)


def _share(old: Sequence[float | None], new: Sequence[float | None]) -> float | None:
    """How much longer the new encodings take on the whole; they must be as many as the old."""
    before = [seconds for seconds in old if seconds is not None]
    after = [seconds for seconds in new if seconds is not None]
    if not before or len(before) != len(old) or len(after) != len(new) or len(old) != len(new):
        return None
    return sum(after) / sum(before) - 1


def _mean_change(codec: str, found: list[Change]) -> Change:
    rate, count = mean_of_known(change.delta.rate for change in found)
    gain, _ = mean_of_known(change.delta.gain for change in found)
    refusal = None if rate is not None else "none"
    encode, decode = (
        mean_of_known(getattr(change, name) for change in found)[0]
        for name in ("encode_seconds", "decode_seconds")
    )
    clip = f"{MEAN} of {count}"
    return Change(codec, clip, Delta(rate, gain, None, refusal), encode, decode)


def _gone_and_new(what: str, before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    yield from (f"{what} {name}: only before" for name in before if name not in after)
    yield from (f"{what} {name}: only after" for name in after if name not in before)
