"""Draws text and screen content: layers [T, H, W, 4] of 8 bits that lie over a clip.

The last axis is Y, U, V and how far they cover what is below (255: all), by which Y, U and V
are multiplied already. Text is set in the fonts of the machine; where there are none, in the one
that comes with Pillow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
FONT_SUFFIXES = (".otf", ".ttf")
FONT_MIN, FONT_MAX = 7, 26  # pixels
LETTERS = np.array(list("eeeettttaaaooiinnssrrhhllddcuumfpgwybvkxjqzETAOINSRH0123456789.,:-/()"))
WORD_MAX = 9  # letters
BLACK = 16  # of luma
SPEED_MAX = 24  # pixels for each frame

Random = np.random.Generator
Layer = NDArray[np.uint8]
Ink = tuple[int, int, int]  # Y, U, V
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Shape = tuple[int, ...]  # T, H, W
Place = tuple[float, float]  # x, y
Corners = tuple[float, float, float, float]  # left, top, right, bottom; the last ones within


class Canvas:
    """What is drawn: colours, and how far they cover what is below.

    `ground` is the colour of all that is not drawn on, which covers either all or nothing.
    """

    def __init__(self, width: int, height: int, ground: Ink, *, is_opaque: bool) -> None:
        self.width, self.height = width, height
        self._colours = Image.new("RGB", (width, height), ground)
        self._cover = Image.new("L", (width, height), 255 * is_opaque)
        self.draw = ImageDraw.Draw(self._colours)
        self.cover = ImageDraw.Draw(self._cover)

    def text(
        self, place: Place, text: str, ink: Ink, font: Font, anchor: str = "la", stroke: int = 0
    ) -> None:
        """Write text; with a stroke of so many pixels around it, which has the ground's colour."""
        self.draw.text(place, text, ink, font, anchor=anchor)
        self.cover.text(place, text, 255, font, anchor=anchor, stroke_width=stroke)

    def box(self, corners: Corners, ink: Ink) -> None:
        """Fill a rectangle."""
        self.draw.rectangle(corners, ink)
        self.cover.rectangle(corners, 255)

    def layer(self) -> Layer:
        """Return [H, W, 4]."""
        cover = np.asarray(self._cover)[..., None]
        colours = (np.asarray(self._colours) * cover.astype(np.uint16) + 127) // 255
        return np.concatenate((colours.astype(np.uint8), cover), axis=2)


@dataclass(frozen=True, slots=True)
class Style:
    """How a page looks."""

    font: Font
    line: int  # pixels from line to line
    paper: Ink
    ink: Ink
    accent: Ink


def draw_captions(shape: Shape, random: Random) -> Layer:
    """Return the layer of a subtitle, a ticker or credits."""
    draw = (_subtitle, _ticker, _credits)[random.integers(3)]
    return draw(shape, random)


def draw_screen(shape: Shape, random: Random) -> Layer:
    """Return the layer of one or two panels that stand or scroll, below a dialog at times."""
    frames, height, width = shape
    edge = int(random.uniform(0.15, 0.6) * width) if random.random() < 0.6 else 0
    panels = [_panel((frames, height, w), random) for w in (edge, width - edge) if w]
    layer = np.concatenate(panels, axis=2)
    if random.random() < 0.4:
        _add_dialog(layer, random)
    return layer


def _subtitle(shape: Shape, random: Random) -> Layer:
    """Return text that stands, and appears or goes within the clip."""
    frames, height, width = shape
    font = _font(random)
    canvas = Canvas(width, height, _neutral(BLACK), is_opaque=False)
    top = random.uniform(0, 0.85) * height
    ink = _neutral(random.integers(200, 236)) if random.random() < 0.7 else _vivid(random)
    has_box = random.random() < 0.3
    stroke = 0 if has_box else int(random.integers(1, 3))
    for number in range(random.integers(1, 3)):
        place = (width / 2, top + 1.3 * number * _size(font))
        text = _text(random, width // _size(font) + 4)
        if has_box:
            canvas.box(canvas.draw.textbbox(place, text, font, anchor="ma"), _neutral(BLACK))
        canvas.text(place, text, ink, font, "ma", stroke)
    layer = np.repeat(canvas.layer()[None], frames, axis=0)
    first, last = sorted(random.integers(-frames, 2 * frames, 2))
    if max(first, 0) < min(last, frames):
        layer[: max(first, 0)] = 0
        layer[last:] = 0
    return layer


def _ticker(shape: Shape, random: Random) -> Layer:
    """Return a band of text that runs to the left."""
    frames, height, width = shape
    offsets = _offsets(frames, random)
    font = _font(random)
    band = 3 * _size(font) // 2
    ink = _neutral(random.integers(200, 236))
    canvas = Canvas(width + int(offsets.max()), height, ink, is_opaque=False)
    top = int(random.uniform(0, max(1, height - band)))
    if random.random() < 0.7:
        paper = _vivid(random) if random.random() < 0.5 else _neutral(random.integers(16, 80))
        canvas.box((0, top, canvas.width, top + band), paper)
    text = _text(random, 3 * canvas.width // _size(font))
    canvas.text((0, top + band / 2), text, ink, font, "lm")
    whole = canvas.layer()
    return np.stack([whole[:, offset : offset + width] for offset in offsets])


def _credits(shape: Shape, random: Random) -> Layer:
    """Return centred lines that run up or down over the clip, or over black."""
    frames, height, width = shape
    offsets = _offsets(frames, random)
    font = _font(random)
    ink, is_opaque = _neutral(random.integers(180, 236)), random.random() < 0.5
    ground = _neutral(BLACK) if is_opaque else ink
    canvas = Canvas(width, height + int(offsets.max()), ground, is_opaque=is_opaque)
    for y in range(0, canvas.height, int(1.4 * _size(font))):
        if random.random() < 0.8:
            text = _text(random, int(random.integers(4, 22)))
            canvas.text((width / 2, y), text, ink, font, "ma")
    return _scroll(canvas.layer(), offsets, height)


def _panel(shape: Shape, random: Random) -> Layer:
    frames, height, width = shape
    offsets = _offsets(frames, random) if random.random() < 0.7 else np.zeros(frames, np.int64)
    style = _style(random)
    canvas = Canvas(width, height + int(offsets.max()), style.paper, is_opaque=True)
    y = int(random.integers(-style.line, style.line))
    while y < canvas.height:
        y += _block(canvas.draw, y, width, style, random)
    if not offsets.any() and random.random() < 0.5:
        left, right = sorted(random.integers(0, width, 2).tolist())
        top, bottom = sorted(random.integers(0, height, 2).tolist())
        canvas.cover.rectangle((left, top, right, bottom), 0)  # here the video is seen
    return _scroll(canvas.layer(), offsets, height)


def _block(draw: ImageDraw.ImageDraw, y: int, width: int, style: Style, random: Random) -> int:
    """Draw a line of text, a button, a rule or a bar at `y`; return its height."""
    kind, line = random.random(), style.line
    if kind < 0.7:
        text = _text(random, int(random.uniform(0.3, 2.5) * width / line))
        ink = style.ink if random.random() < 0.85 else style.accent
        draw.text((line // 2, y), text, ink, style.font)
        return line
    if kind < 0.8:
        end = int(random.uniform(0.2, 0.8) * width) + line
        draw.rounded_rectangle((line // 2, y, end, y + line), line // 4, style.accent)
        draw.text((line, y), _text(random, 6), style.paper, style.font)
    elif kind < 0.9:
        draw.line((0, y + line // 2, width, y + line // 2), style.ink)
    else:
        draw.rectangle((0, y, width, y + line), _vivid(random))
        draw.ellipse((line // 4, y + line // 4, line, y + line), style.paper)
    return 3 * line // 2


def _add_dialog(layer: Layer, random: Random) -> None:
    """Draw a dialog that opens within the clip."""
    frames, height, width, _ = layer.shape
    style = _style(random)
    box_width, box_height = (int(random.uniform(0.3, 0.7) * side) for side in (width, height))
    canvas = Canvas(box_width, box_height, style.paper, is_opaque=True)
    for y in range(style.line, box_height, style.line):
        _block(canvas.draw, y, box_width, style, random)
    canvas.draw.rectangle((0, 0, box_width - 1, box_height - 1), outline=style.ink)
    top, left = random.integers(height - box_height), random.integers(width - box_width)
    first = random.integers(frames)
    layer[first:, top : top + box_height, left : left + box_width] = canvas.layer()


def _scroll(canvas: Layer, offsets: NDArray[np.int64], height: int) -> Layer:
    return np.stack([canvas[offset : offset + height] for offset in offsets])


def _offsets(frames: int, random: Random) -> NDArray[np.int64]:
    """Return where the window stands in each frame, 0 or more: it moves evenly or in steps."""
    speed = int(np.exp(random.uniform(0, np.log(SPEED_MAX))))
    moves = random.random(frames) < (1 if random.random() < 0.7 else 0.5)
    offsets = np.cumsum(speed * moves)
    return offsets if random.random() < 0.7 else offsets[::-1]


def _style(random: Random) -> Style:
    font = _font(random)
    light, dark = int(random.integers(190, 256)), int(random.integers(0, 70))
    paper, ink = (light, dark) if random.random() < 0.6 else (dark, light)
    return Style(font, int(1.35 * _size(font)), _neutral(paper), _neutral(ink), _vivid(random))


def _neutral(luma: int | np.integer) -> Ink:
    return int(luma), 128, 128


def _vivid(random: Random) -> Ink:
    """Return a strong colour."""
    y, u, v = random.integers((40, 30, 30), (210, 226, 226)).tolist()
    return y, u, v


def _text(random: Random, letters: int) -> str:
    """Return words of random letters."""
    text = LETTERS[random.integers(len(LETTERS), size=max(letters, 1))]
    text[random.random(len(text)) < 1.5 / WORD_MAX] = " "
    return "".join(text)


def _size(font: Font) -> int:
    return int(font.size) if isinstance(font, ImageFont.FreeTypeFont) else FONT_MIN


def _font(random: Random) -> Font:
    size = int(FONT_MIN * (FONT_MAX / FONT_MIN) ** random.random())
    fonts = _font_files()
    return _load_font(fonts[random.integers(len(fonts))] if fonts else None, size)


@lru_cache
def _font_files() -> list[Path]:
    folders = [Path(folder).expanduser() for folder in FONT_FOLDERS]
    found = [
        Path(path, name) for top in folders for path, _, names in os.walk(top) for name in names
    ]
    return sorted(file for file in found if file.suffix.lower() in FONT_SUFFIXES)


@lru_cache(maxsize=512)
def _load_font(file: Path | None, size: int) -> Font:
    try:
        return ImageFont.truetype(file, size) if file else ImageFont.load_default(size)
    except OSError:  # not a font that FreeType knows
        return ImageFont.load_default(size)
