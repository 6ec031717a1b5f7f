"""The parts of pages that are readable offline, and how pages are written."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from neuvid.outputs import replacing


def page_part(name: str) -> str:
    """Return the text of a file in this folder."""
    return (files(__name__) / name).read_text(encoding="utf-8")


def write_page(page: str, path: Path) -> None:
    """Write a page; raise UnwritableOutput."""
    with replacing(path) as file:
        file.write(page.encode())
