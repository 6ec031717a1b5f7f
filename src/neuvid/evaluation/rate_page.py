"""A page about rate control: a table, and bits per frame against targets."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go  # type: ignore[import-untyped]
from plotly.colors import qualitative  # type: ignore[import-untyped]
from plotly.io import to_html  # type: ignore[import-untyped]

from neuvid.evaluation.page import page_part, write_page
from neuvid.evaluation.rates import RateRun, RateSummary, summarise

COLUMNS = {
    "codec": "",
    "runs": "runs",
    "error": "mean error",
    "first_error": "mean error of the first 96 frames",
    "worst_error": "worst error",
    "violations": "frames over a buffer of a second",
    "cost": "bits against constant quality",
    "step_error": "error after a step",
    "foresight_error": "error of the agent's foresight",
}
SHARES = ("error", "first_error", "worst_error", "step_error", "foresight_error")
WINDOW = 8  # frames of the running mean
COLOURS: list[str] = qualitative.Plotly


def write_rate_page(runs: list[RateRun], path: Path) -> None:
    """Write a page that is readable offline; raise UnwritableOutput."""
    figures = [*_fluctuating(runs), *_converging(runs)]
    parts = [
        to_html(figure, full_html=False, include_plotlyjs=number == 0)
        for number, figure in enumerate(figures)
    ]
    style = f"<style>{page_part('page.css')}</style>"
    head = f"<!doctype html><meta charset=utf-8><title>Rate control</title>{style}"
    table = _table(*table_of(summarise(runs)))
    page = f"{head}<h1>Rate control</h1><div class=scroll>{table}</div>{''.join(parts)}"
    write_page(page, path)


def table_of(summaries: Iterable[RateSummary]) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the rows of a table for people."""
    rows = [[_cell(name, getattr(summary, name)) for name in COLUMNS] for summary in summaries]
    return list(COLUMNS.values()), rows


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if name in SHARES:
        return f"{value:.2%}"
    return f"{value:+.2%}" if name == "cost" else str(value)


def _table(titles: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(title)}" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}" for cell in row) for row in rows)
    return f"<table><tr>{head}{body}</table>"


def _fluctuating(runs: list[RateRun]) -> list[Any]:
    """Return a figure for each clip and setting whose target changes: bits per frame."""
    changing = [run for run in runs if len(set(run.targets)) > 1]
    figures = []
    for clip, setting in dict.fromkeys((run.clip, run.setting) for run in changing):
        shown = [run for run in changing if (run.clip, run.setting) == (clip, setting)]
        figure = go.Figure(layout=_layout(f"{clip}: {setting}", "kbit per frame"))
        frames = list(range(len(shown[0].bits)))
        for run in shown:
            line, bits = _line(run, runs), np.array(run.bits) / 1000
            counts = np.convolve(np.ones(len(bits)), np.ones(WINDOW), "same")
            means = np.convolve(bits, np.ones(WINDOW), "same") / counts
            figure.add_scatter(x=frames, y=bits, name=run.codec, opacity=0.3, line=line)
            figure.add_scatter(x=frames, y=means, name=f"{run.codec}, mean of {WINDOW}", line=line)
        target = np.array(shown[0].targets) / 1000
        figure.add_scatter(
            x=frames, y=target, name="target", line={"color": "black", "dash": "dash"}
        )
        figures.append(figure)
    return figures


def _converging(runs: list[RateRun]) -> list[Any]:
    """Return a figure for the first clip: the mean bits so far against constant targets."""
    held = [run for run in runs if len(set(run.targets)) == 1 and run.clip == runs[0].clip]
    figure = go.Figure(layout=_layout(f"{runs[0].clip}: constant targets", "mean kbit so far"))
    for run in held:
        counts = range(1, len(run.bits) + 1)
        means = [bits / n / 1000 for n, bits in zip(counts, accumulate(run.bits), strict=True)]
        target = run.targets[0] / 1000
        name = f"{run.codec}, {target:.1f} kbit"
        figure.add_scatter(x=list(counts), y=means, name=name, line=_line(run, runs))
    for target in dict.fromkeys(run.targets[0] / 1000 for run in held):
        figure.add_hline(target, line={"color": "black", "dash": "dash"})
    return [figure]


def _line(run: RateRun, runs: list[RateRun]) -> dict[str, str]:
    """Return the line of a run: each codec has a colour."""
    codecs = list(dict.fromkeys(each.codec for each in runs))
    return {"color": COLOURS[codecs.index(run.codec) % len(COLOURS)]}


def _layout(title: str, axis: str) -> dict[str, Any]:
    return {"title": title, "xaxis": {"title": "frame"}, "yaxis": {"title": axis}, "height": 600}
