"""Text of subtitles, for containers that hold it in another form only."""

from __future__ import annotations

import html
import re

WRITTEN = {"matroska": "subrip", "webm": "webvtt", "mp4": "mov_text", "mov": "mov_text"}
STYLES = b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname\n"  # none
ASS_FIELDS = 8  # before the text
LONGEST = 65535  # bytes of a line in mov_text
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")  # of SRT and WebVTT
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")  # of ASS
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&nbsp;": "\u00a0", "&amp;": "&"}  # of WebVTT, & last
_BREAK = re.compile(r"\\[nN]")


def holds_text(codec: str) -> bool:
    """Say whether subtitles of a codec, by FFmpeg's name, are text that `text_of` finds."""
    return codec in ("srt", "subrip", "ssa", "ass", "webvtt", "mov_text")


def text_of(codec: str, data: bytes) -> str:
    """Return the bare text of a packet."""
    if codec == "mov_text":
        return data[2 : 2 + int.from_bytes(data[:2])].decode(errors="replace")
    text = data.decode(errors="replace")
    if codec in ("ssa", "ass"):
        text = text.split(",", ASS_FIELDS)[-1]
        return _BREAK.sub("\n", _OVERRIDE.sub("", text)).replace("\\h", " ").strip()
    text = _TAG.sub("", _OVERRIDE.sub("", text))
    if codec == "webvtt":
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    return text.strip()


def packet_of(codec: str, text: str) -> bytes:
    """Return a packet of subrip, webvtt or mov_text, as in `WRITTEN`, that holds the text."""
    if codec == "webvtt":
        return html.escape(text, quote=False).encode()
    data = text.encode()
    if codec == "mov_text":
        data = data[:LONGEST].decode(errors="ignore").encode()
        return len(data).to_bytes(2) + data
    return data
