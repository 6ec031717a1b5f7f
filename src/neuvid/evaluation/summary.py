"""The numbers of an evaluation in one table, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from neuvid.evaluation.bdrate import compare_codecs
from neuvid.evaluation.facts import codec_facts, drift, quality_range
from neuvid.evaluation.metrics import METRICS
from neuvid.evaluation.results import Evaluation

NOTHING = "–"
FACTS = ("drift", "rate error", "kMAC per pixel", "encode frames/s", "decode frames/s")


def summary(evaluation: Evaluation, metric: str) -> str:
    """Return tables: each codec's quality, differences, and what else is known.

    The differences are of bits at an equal `metric`, against the codec of the column. Lines below
    the table tell why some are missing. A second table has those of the first codec by all metrics.
    """
    if not evaluation.curves:
        return "Nothing was measured."
    anchors = evaluation.codecs
    head = ["", METRICS[metric].label, *(f"against {anchor}" for anchor in anchors), *FACTS]
    rows = []
    for codec in anchors:
        differences = [_difference(evaluation, anchor, codec, metric) for anchor in anchors]
        quality = _range(evaluation, codec, metric)
        facts = [_drift(evaluation, codec, metric), *_facts(evaluation, codec)]
        rows.append([codec, quality, *differences, *facts])
    table = markdown_table(*_without_empty_columns(head, rows))
    parts = (
        _title(evaluation, f"equal {METRICS[metric].label}"),
        table,
        _refusals(evaluation, metric),
        _by_metric(evaluation),
    )
    return "\n\n".join(part for part in parts if part)


def _by_metric(evaluation: Evaluation) -> str:
    """Return a table of the first codec's bits against the others', by each metric."""
    first, *anchors = evaluation.codecs
    if not anchors:
        return ""
    head = [f"{first} against", *(METRICS[metric].label for metric in evaluation.metrics)]
    rows = [
        [anchor, *(_difference(evaluation, anchor, first, name) for name in evaluation.metrics)]
        for anchor in anchors
    ]
    return f"{_title(evaluation, 'equal quality')}\n\n{markdown_table(head, rows)}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; columns after the first are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = [
        "-" * width if number == 0 else "-" * (width - 1) + ":"
        for number, width in enumerate(widths)
    ]
    return "\n".join(_line(cells, widths) for cells in (head, rule, *rows))


def _without_empty_columns(
    head: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    kept = [n for n in range(len(head)) if any(row[n] != NOTHING for row in rows)]
    return [head[n] for n in kept], [[row[n] for n in kept] for row in rows]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.ljust(width) if number == 0 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |"


def _title(evaluation: Evaluation, what: str) -> str:
    count = len(evaluation.clips)
    frames = sorted({clip.frames for clip in evaluation.clips})
    span = "–".join(str(number) for number in dict.fromkeys((frames[0], frames[-1])))
    clips = f"{count} clip{'' if count == 1 else 's'} of {span} frames"
    return f"Bits at {what}, {clips}:"


def _range(evaluation: Evaluation, codec: str, metric: str) -> str:
    ends, digits = quality_range(evaluation, codec, metric), _digits(metric)
    return NOTHING if ends is None else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def _drift(evaluation: Evaluation, codec: str, metric: str) -> str:
    rise = drift(evaluation, codec, metric)
    return NOTHING if rise is None else f"{rise:+.{_digits(metric) + 1}f}"


def _digits(metric: str) -> int:
    return 4 if METRICS[metric].unit == "1" else 1


def _difference(evaluation: Evaluation, anchor: str, codec: str, metric: str) -> str:
    if anchor == codec:
        return ""
    comparison = compare_codecs(evaluation, anchor, codec, metric)
    if comparison.rate is None:
        return NOTHING
    count, clips = comparison.rate_clips, len(evaluation.clips)
    part = "" if count == clips else f" ({count} of {clips} clips)"
    return f"{comparison.rate:+.1f} %{part}"


def _refusals(evaluation: Evaluation, metric: str) -> str:
    """Name each pair of codecs that is refused for a clip, and why."""
    lines = []
    for anchor, codec in combinations(evaluation.codecs, 2):
        deltas = compare_codecs(evaluation, anchor, codec, metric).clips.values()
        reasons = Counter(delta.refusal for delta in deltas if delta.refusal)
        for reason, count in reasons.items():
            clips = f"{count} of {len(evaluation.clips)} clips"
            lines.append(f"- {codec} against {anchor}, {clips}: {reason}")
    return "\n".join(lines)


def _facts(evaluation: Evaluation, codec: str) -> list[str]:
    facts = codec_facts(evaluation, codec)
    error = NOTHING if facts.rate_error is None else f"{100 * facts.rate_error:.2f} %"
    numbers = (facts.kmac_per_pixel, facts.encode_speed, facts.decode_speed)
    return [error, *(NOTHING if number is None else f"{number:.2f}" for number in numbers)]
