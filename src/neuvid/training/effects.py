"""What happens to real clips, and to few of the training sets: flashes, cuts, grain, text, pans…

Each effect is a pure function of planes and a random generator. Most samples get none.
Positions are those of `motion.py`. Layers are [T, H, W, 4] of 8 bits: Y, U, V and how far they
cover what is below (255: all), by which Y, U and V are multiplied already.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from neuvid.training.motion import Planes
from neuvid.training.screens import draw_captions, draw_screen

BLACK, WHITE, GREY = 16, 235, 128  # of luma; neutral chroma

Random = np.random.Generator
Floats = NDArray[np.floating[Any]]


class Material(Enum):
    """What an effect changes to a chain of T frames."""

    CHAIN = "the chain itself"
    TWO_CHAINS = "two chains, one after the other in 2 T frames"
    WHOLE_FRAMES = "a chain that is cut to size afterwards"


@dataclass(frozen=True, slots=True)
class Effect:
    """How a share of the samples is changed; `for_stills`: samples of one frame, too."""

    share: float
    change: Callable[[Planes, Random], Planes]
    for_stills: bool = False
    material: Material = Material.CHAIN


def draw_effect(frames: int, random: Random) -> Effect | None:
    """Return the effect on a sample of so many frames, mostly None."""
    drawn = random.random()
    for effect in EFFECTS.values():
        drawn -= effect.share
        if drawn < 0:
            return effect if effect.for_stills or frames > 1 else None
    return None


def flash(planes: Planes, random: Random) -> Planes:
    """Let lights flash or fail: white or coloured, everywhere or in moving spots and beams."""
    light = random.uniform(0.3, 1.8) if random.random() < 0.7 else -random.uniform(0.4, 0.9)
    frames, height, width = planes.luma.shape
    lit = _on_and_off(frames, random)[:, None, None]
    if random.random() < 0.5:
        lit = lit * _lit_area(frames, height // 2, width // 2, random)
    growth = np.broadcast_to(light * lit, (frames, height // 2, width // 2)).astype(np.float32)
    haze = random.uniform(0, 40) * np.maximum(growth, 0)  # makes light visible where all is dark
    tint = _colour(random, 90) * (random.random() < 0.5)
    luma = planes.luma - np.float32(BLACK)
    luma += luma * _double(growth) + _double(haze)
    chroma = planes.chroma - np.float32(GREY)
    brightness = _halve(luma) * np.minimum(np.abs(growth), 1) / 255
    chroma += chroma * growth[:, None] + tint * brightness[:, None]
    return Planes(_to_bytes(luma + BLACK), _to_bytes(chroma + GREY))


def fade(planes: Planes, random: Random) -> Planes:
    """Fade in from black or white, or out to it."""
    target = BLACK if random.random() < 0.8 else WHITE
    shares = _ramp(len(planes.luma), random)
    return Planes(
        np.stack([_scale(y, target, share) for y, share in zip(planes.luma, shares, strict=True)]),
        np.stack([_scale(c, GREY, share) for c, share in zip(planes.chroma, shares, strict=True)]),
    )


def cross_fade(planes: Planes, random: Random) -> Planes:
    """Fade from one clip to the other."""
    shares = _ramp(len(planes.luma) // 2, random)

    def mix(both: NDArray[np.uint8]) -> NDArray[np.uint8]:
        triples = zip(*np.split(both, 2), shares, strict=True)
        mixed = [cv2.addWeighted(a, share, b, 1 - share, 0) for a, b, share in triples]
        return np.stack(mixed).astype(np.uint8)

    return Planes(mix(planes.luma), mix(planes.chroma))


def cut(planes: Planes, random: Random) -> Planes:
    """Cut from one clip to the other, sometimes back again."""
    frames = len(planes.luma) // 2
    first = int(random.integers(1, frames))
    last = int(random.integers(first, frames)) + 1 if random.random() < 0.3 else frames
    numbers = np.arange(frames)
    numbers[first:last] += frames
    return Planes(planes.luma[numbers], planes.chroma[numbers])


def saturate(planes: Planes, random: Random) -> Planes:
    """Make colours strong, or light the scene with one colour."""
    if random.random() < 0.6:
        return Planes(planes.luma, _scale(planes.chroma, GREY, random.uniform(1.4, 3)))
    light = _halve(planes.luma)[:, None] / 255
    return Planes(planes.luma, _to_bytes(planes.chroma + _colour(random, 120) * light))


def grain(planes: Planes, random: Random) -> Planes:
    """Add noise, fresh in each frame, as film has it in middle tones or a sensor in bright ones."""
    strength = math.exp(random.uniform(math.log(1.5), math.log(10)))
    level = np.arange(256, dtype=np.float32) / 255
    tones = (level * (1 - level) * 4, np.sqrt(level), np.ones_like(level))[random.integers(3)]
    deviation = strength * (0.2 + 0.8 * tones)
    size = random.uniform(0, 0.8)  # of the grain: standard deviation of a blur, pixels
    noise = _noise(planes.luma.shape, size, random)
    colour_noise = _noise(planes.chroma.shape, size / 2, random)
    colour = random.uniform(0, 0.6) * deviation[planes.luma[:, ::2, ::2]][:, None]
    return Planes(
        _to_bytes(planes.luma + deviation[planes.luma] * noise),
        _to_bytes(planes.chroma + colour * colour_noise),
    )


def blur(planes: Planes, random: Random) -> Planes:
    """Put the picture out of focus, or blur it along a line as a moving camera does."""
    if random.random() < 0.5:
        radius = random.uniform(1.1, 4)
        return _filter(planes, _disc(radius), _disc(radius / 2))
    length, angle = random.uniform(3, 14), random.uniform(0, math.pi)
    return _filter(planes, _line(length, angle), _line(length / 2, angle))


def pan(planes: Planes, random: Random) -> Planes:
    """Move the camera fast, to and fro in long clips, with the blur of an open shutter."""
    frames, height, width = planes.luma.shape
    speed = math.exp(random.uniform(math.log(8), math.log(40)))  # pixels for each frame
    is_horizontal = random.random() < 0.75
    reach = (width if is_horizontal else height) / 4
    travelled = speed * (np.arange(frames) - random.uniform(0, frames - 1))
    along = np.abs((travelled + reach) % (4 * reach) - 2 * reach) - reach
    across = random.normal(0, 1) * np.arange(frames)
    moves = np.stack((along, across) if is_horizontal else (across, along), 1)
    shutter = max(1, round(random.uniform(0, 0.7) * speed / 2))  # chroma samples

    def move(plane: NDArray[np.uint8], by: NDArray[np.float64], blurred: int) -> NDArray[np.uint8]:
        size = plane.shape[::-1]
        matrix = np.column_stack((np.eye(2), by))
        border = cv2.BORDER_REFLECT_101
        moved = cv2.warpAffine(plane, matrix, size, flags=cv2.INTER_CUBIC, borderMode=border)
        kernel = (blurred, 1) if is_horizontal else (1, blurred)
        return np.asarray(cv2.blur(moved, kernel, borderType=border), np.uint8)

    pairs = list(zip(planes.luma, planes.chroma, moves, strict=True))
    return Planes(
        np.stack([move(luma, by, 2 * shutter - 1) for luma, _, by in pairs]),
        np.stack([[move(plane, by / 2, shutter) for plane in chroma] for _, chroma, by in pairs]),
    )


def caption(planes: Planes, random: Random) -> Planes:
    """Lay text over the picture: subtitles that appear, tickers and credits that scroll."""
    return _cover(planes, draw_captions(planes.luma.shape, random))


def screen(planes: Planes, random: Random) -> Planes:
    """Show a screen: panels of text and shapes that scroll, sometimes with a video between."""
    return _cover(planes, draw_screen(planes.luma.shape, random))


EFFECTS = {
    "flash": Effect(0.05, flash),
    "fade": Effect(0.03, fade),
    "cross-fade": Effect(0.02, cross_fade, material=Material.TWO_CHAINS),
    "cut": Effect(0.03, cut, material=Material.TWO_CHAINS),
    "saturate": Effect(0.04, saturate, for_stills=True),
    "grain": Effect(0.06, grain, for_stills=True),
    "blur": Effect(0.03, blur, for_stills=True),
    "pan": Effect(0.03, pan, material=Material.WHOLE_FRAMES),
    "caption": Effect(0.04, caption, for_stills=True),
    "screen": Effect(0.04, screen, for_stills=True),
}


def _on_and_off(frames: int, random: Random) -> NDArray[np.float64]:
    """Return the light of each frame, 0..1: a strobe, a bulb, a lamp that flickers."""
    time = np.arange(frames)
    first = random.integers(frames)
    patterns = (
        random.random(frames) < 0.5,
        (time + first) % random.integers(2, 5) == 0,
        (time >= first) * np.exp((first - time) / random.uniform(0.5, 4)),
        0.5 + 0.5 * np.sin(time * random.uniform(0.3, 2.5) + first),
    )
    return np.asarray(patterns[random.integers(len(patterns))], np.float64)


def _lit_area(frames: int, height: int, width: int, random: Random) -> NDArray[np.float64]:
    """Return [T, height, width]: 1 within a spot or a beam that may sweep, falling to 0 outside."""
    time = np.arange(frames)[:, None, None]
    sweep_x, sweep_y = random.normal(0, 3, 2)
    x = np.arange(width) - width * random.random() - sweep_x * time
    y = np.arange(height)[:, None] - height * random.random() - sweep_y * time
    radius = math.hypot(height, width) * random.uniform(0.05, 0.35)
    angle = random.uniform(0, math.pi)
    is_beam = random.random() < 0.4
    distance = np.abs(x * math.cos(angle) + y * math.sin(angle)) if is_beam else np.hypot(x, y)
    softness = random.uniform(0.15, 1)
    return np.asarray(np.clip((1 - distance / radius) / softness + 0.5, 0, 1), np.float64)


def _colour(random: Random, strength_max: float) -> Floats:
    """Return the chroma [2, 1, 1] of a random colour, 0 for grey."""
    angle = random.uniform(0, 2 * math.pi)
    direction = np.array((math.cos(angle), math.sin(angle)), np.float32)
    return (direction * random.uniform(0.3, 1) * strength_max).reshape(2, 1, 1).astype(np.float32)


def _ramp(frames: int, random: Random) -> NDArray[np.float64]:
    """Return the share of each frame, rising or falling from anywhere within 0..1."""
    length = random.uniform(2, 2 * frames)
    start = random.uniform(-length / 2, frames / 2)
    rising = np.asarray(np.clip((np.arange(frames) - start) / length, 0, 1), np.float64)
    return rising if random.random() < 0.5 else 1 - rising


def _scale(samples: NDArray[np.uint8], pivot: int, gain: float) -> NDArray[np.uint8]:
    """Return samples at `gain` times their distance from the pivot."""
    table = _to_bytes(pivot + gain * (np.arange(256, dtype=np.float32) - pivot))
    return table[samples]


def _to_bytes(samples: Floats) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(samples), 0, 255), np.uint8)


def _double(field: Floats) -> Floats:
    """Return [T, 2 H, 2 W] of a field [T, H, W], smooth."""
    size = (2 * field.shape[2], 2 * field.shape[1])
    return np.stack([cv2.resize(one, size) for one in field]).astype(np.float32)


def _halve(field: NDArray[np.uint8] | Floats) -> Floats:
    """Return the means [T, H / 2, W / 2] of 2 x 2 samples of [T, H, W]."""
    size = (field.shape[2] // 2, field.shape[1] // 2)
    halved = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in field]
    return np.stack(halved).astype(np.float32)


def _noise(shape: tuple[int, ...], size: float, random: Random) -> Floats:
    """Return Gaussian noise of variance 1, whose grains have a size."""
    noise = random.standard_normal(shape, np.float32)
    if size > 0.3:  # below, a blur would not change it
        for plane in noise.reshape(-1, *shape[-2:]):
            cv2.GaussianBlur(plane, (0, 0), size, dst=plane)
        noise /= noise.std()
    return noise


def _disc(radius: float) -> Floats:
    """Return the kernel of a lens out of focus."""
    side = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    return _normalised(radius + 0.5 - np.hypot(side, side[:, None]))


def _line(length: float, angle: float) -> Floats:
    """Return the kernel of a camera that moves while the shutter is open."""
    reach = math.ceil(length / 2)
    side = np.arange(-reach, reach + 1)
    along = side * math.cos(angle) + side[:, None] * math.sin(angle)
    across = side * math.sin(angle) - side[:, None] * math.cos(angle)
    beyond = np.maximum(np.abs(along) - length / 2, 0)
    return _normalised(1 - np.hypot(beyond, across))


def _normalised(weights: NDArray[np.float64]) -> Floats:
    kept = np.clip(weights, 0, 1)
    return np.asarray(kept / kept.sum(), np.float32)


def _filter(planes: Planes, kernel: Floats, half_kernel: Floats) -> Planes:
    def apply(samples: NDArray[np.uint8], weights: Floats) -> NDArray[np.uint8]:
        flat = samples.reshape(-1, *samples.shape[-2:])
        filtered = [cv2.filter2D(plane, -1, weights) for plane in flat]
        return np.stack(filtered).reshape(samples.shape).astype(np.uint8)

    return Planes(apply(planes.luma, kernel), apply(planes.chroma, half_kernel))


def _cover(planes: Planes, layer: NDArray[np.uint8]) -> Planes:
    """Return the planes below a layer [T, H, W, 4]."""
    size = (layer.shape[2] // 2, layer.shape[1] // 2)
    half = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in layer])
    chroma = half[..., 1:3].transpose(0, 3, 1, 2)
    return Planes(
        _below(planes.luma, layer[..., 0], layer[..., 3]),
        _below(planes.chroma, chroma, half[..., 3][:, None]),
    )


def _below(
    samples: NDArray[np.uint8], cover: NDArray[np.uint8], opacity: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    seen = (samples * (255 - opacity).astype(np.uint16) + 127) // 255
    return np.asarray(np.minimum(seen + cover, 255), np.uint8)
