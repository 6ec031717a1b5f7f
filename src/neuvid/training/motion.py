"""Clips made from photographs: pan, zoom, rotation, and a second layer that moves otherwise.

Positions are continuous: the centre of the first pixel of a plane is at 0.5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SCALE_MIN = 0.35  # of a photograph; scaling it down varies the size of its content
SPEED_MIN, SPEED_MAX = 0.05, 8.0  # pixels for each frame
ZOOM_SPREAD = 0.008  # standard deviation of the growth for each frame
ROTATION_SPREAD = 0.008  # radians for each frame
SHAKE_SPREAD = 0.3  # pixels
STILL_SHARE, TURN_SHARE, SHAKE_SHARE, LAYER_SHARE = 0.1, 0.4, 0.25, 0.5
OUTLINE_POINTS = 12


@dataclass(frozen=True, slots=True)
class Planes:
    """Luma [..., H, W] and chroma [..., 2, H/2, W/2] of 8 bits; `...` is nothing or frames."""

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class CameraPath:
    """A path of the camera over a photograph; time is 0 in the middle of the clip."""

    centre: NDArray[np.float64]  # [2] x, y in the photograph
    velocity: NDArray[np.float64]  # [2] pixels for each frame
    zoom: float  # logarithm of the growth for each frame
    rotation: float  # radians for each frame
    shake: NDArray[np.float64]  # [T, 2] pixels

    def matrix(self, frame: int, size: int, subsampling: int) -> NDArray[np.float64]:
        """Return [2, 3] from pixel indexes of a frame of size x size to those of the photograph.

        `subsampling` is 1 for luma, 2 for the chroma planes.
        """
        time = frame - (len(self.shake) - 1) / 2
        scale, angle = math.exp(self.zoom * time), self.rotation * time
        cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
        turn = np.array([[cosine, -sine], [sine, cosine]])
        target = self.centre + self.velocity * time + self.shake[frame]
        offset = (target - turn @ np.full(2, size / 2)) / subsampling
        return np.column_stack((turn, turn @ np.full(2, 0.5) + offset - 0.5))


def crop_photo(photo: Planes, size: int, random: np.random.Generator) -> Planes:
    """Return one frame: a random part, size x size, of the photograph at a random scale."""
    scaled = _rescale(photo, size, random)
    height, width = scaled.luma.shape
    top = int(random.integers((height - size) // 2 + 1))  # chroma samples
    left = int(random.integers((width - size) // 2 + 1))
    half = size // 2
    luma = scaled.luma[2 * top : 2 * top + size, 2 * left : 2 * left + size]
    return Planes(luma[None], scaled.chroma[None, :, top : top + half, left : left + half])


def moving_photo(
    layers: tuple[Planes, Planes], frames: int, size: int, random: np.random.Generator
) -> Planes:
    """Return a clip [T, size, size] over the first photograph, often with part of the second."""
    back = _film(_rescale(layers[0], size, random), frames, size, random)
    if random.random() >= LAYER_SHARE:
        return Planes(back.luma, back.chroma)
    front = _film(_rescale(layers[1], size, random), frames, size, random)
    return Planes(
        _blend(back.luma, front.luma, front.mask),
        _blend(back.chroma, front.chroma, front.half_mask[:, None]),
    )


@dataclass(frozen=True, slots=True)
class _Film:
    luma: NDArray[np.uint8]  # [T, H, W]
    chroma: NDArray[np.uint8]  # [T, 2, H/2, W/2]
    mask: NDArray[np.uint8]  # [T, H, W]: 255 where the layer covers what is behind it
    half_mask: NDArray[np.uint8]  # [T, H/2, W/2]


def _film(photo: Planes, frames: int, size: int, random: np.random.Generator) -> _Film:
    height, width = photo.luma.shape
    path = _draw_path((width, height), frames, size, random)
    mask = _draw_mask((width, height), path.centre, size, random)
    half = size // 2
    whole = [path.matrix(frame, size, 1) for frame in range(frames)]
    halved = [path.matrix(frame, size, 2) for frame in range(frames)]
    masks = [_warp(mask, matrix, size) for matrix in whole]
    return _Film(
        np.stack([_warp(photo.luma, matrix, size) for matrix in whole]),
        np.stack([[_warp(plane, m, half) for plane in photo.chroma] for m in halved]),
        np.stack(masks),
        np.stack([cv2.resize(m, (half, half), interpolation=cv2.INTER_AREA) for m in masks]),
    )


def _warp(plane: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REFLECT_101
    warped = cv2.warpAffine(plane, matrix, (size, size), flags=flags, borderMode=border)
    return np.asarray(warped, np.uint8)


def _blend(
    back: NDArray[np.uint8], front: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    weight = mask.astype(np.int32)
    mixed = (back.astype(np.int32) * (255 - weight) + front.astype(np.int32) * weight + 127) // 255
    return mixed.astype(np.uint8)


def _rescale(photo: Planes, size: int, random: np.random.Generator) -> Planes:
    height, width = photo.luma.shape
    smallest = max(SCALE_MIN, size / min(height, width))
    scale = smallest + (1 - smallest) * random.random()
    half_height = math.ceil(scale * height / 2)
    half_width = math.ceil(scale * width / 2)

    def resize(plane: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
        target = (factor * half_width, factor * half_height)
        return np.asarray(cv2.resize(plane, target, interpolation=cv2.INTER_AREA), np.uint8)

    return Planes(resize(photo.luma, 2), np.stack([resize(plane, 1) for plane in photo.chroma]))


def _draw_path(
    photo_size: tuple[int, int], frames: int, size: int, random: np.random.Generator
) -> CameraPath:
    room = np.maximum(np.array(photo_size) - size, 0)
    speed = math.exp(random.uniform(math.log(SPEED_MIN), math.log(SPEED_MAX)))
    direction = random.uniform(0, 2 * math.pi)
    turns = random.random() < TURN_SHARE
    moves = random.random() >= STILL_SHARE
    shakes = random.random() < SHAKE_SHARE
    return CameraPath(
        centre=size / 2 + room * random.random(2),
        velocity=moves * speed * np.array([math.cos(direction), math.sin(direction)]),
        zoom=turns * random.normal(0, ZOOM_SPREAD),
        rotation=turns * random.normal(0, ROTATION_SPREAD),
        shake=shakes * random.normal(0, SHAKE_SPREAD, (frames, 2)),
    )


def _draw_mask(
    photo_size: tuple[int, int],
    centre: NDArray[np.float64],
    size: int,
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return [h, w] of a photograph: 255 inside a random outline near `centre`, else 0."""
    angles = np.linspace(0, 2 * math.pi, OUTLINE_POINTS, endpoint=False)
    radii = size * random.uniform(0.1, 0.5) * random.uniform(0.6, 1.2, OUTLINE_POINTS)
    middle = centre + size * random.uniform(-0.4, 0.4, 2)
    outline = middle + radii[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1)
    mask = np.zeros(photo_size[::-1], np.uint8)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], (255,), cv2.LINE_AA)
    return mask
