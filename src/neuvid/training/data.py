"""Training sets: 8-bit 4:2:0 planes, cut into random batches.

A set is a folder with `planes.bin`, the planes of all clips and photographs one after the other,
and `index.json`, which says where each lies: `preparation.py` writes it. Or it is one packed file
of streams, which `packing.py` makes of such a folder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.training.effects import Material, Random, draw_effect
from neuvid.training.items import Item, Split, map_planes, read_index, split_frame
from neuvid.training.motion import Planes, crop_photo, moving_photo
from neuvid.training.packed import read_packed

REVERSED_SHARE, STRIDE_SHARE = 0.25, 0.25  # of the clips drawn: backwards; every second frame

FramePlanes = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # luma [h, w], chroma [2, h/2, w/2]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """What a batch consists of; `photo_share` of the samples are made from photographs."""

    size: int
    frames: int
    crop: int
    photo_share: float


class TrainingSet:
    """Random batches of one split of a training set.

    Sample i of step s depends on (seed, s, i) alone, whatever was drawn before. Raises
    UnreadableInput when `path` is neither the folder nor the packed file of a training set.
    """

    def __init__(self, path: Path, split: Split, *, seed: int) -> None:
        self.path = path
        self.split = split
        self.seed = seed
        items, self.planes = _load(path, split)
        self.items = [item for item in items if item.split == split]
        if not self.items:
            raise UnreadableInput(path, f"no clips or photographs to use for {split}")

    def sampler(self, shape: BatchShape) -> Sampler:
        """Return what draws batches of one shape.

        Raises InvalidSetting when no item is long and large enough.
        """
        return Sampler(self, shape)

    def frame(self, item: Item, number: int) -> FramePlanes:
        """Return luma [h, w] and chroma [2, h/2, w/2] of one frame, not copied."""
        return split_frame(self.planes, item, number)


def _load(path: Path, split: Split) -> tuple[list[Item], NDArray[np.uint8]]:
    """Return at least the items of a split, and the planes that they lie in."""
    if path.is_file():
        return read_packed(path, split)
    return read_index(path), map_planes(path)


class Sampler:
    """Draws batches of one shape from a training set."""

    def __init__(self, data: TrainingSet, shape: BatchShape) -> None:
        self.data = data
        self.shape = shape
        large = [item for item in data.items if min(item.width, item.height) >= shape.crop]
        self.photos = [item for item in large if item.is_photo]
        self.clips = [i for i in large if not i.is_photo and i.frames >= shape.frames]
        if not self.photos and not self.clips:
            expected = f"some clip in {data.path} with {shape.frames} frames of this size"
            raise InvalidSetting("crop", got=shape.crop, expected=expected)
        self.clip_bounds = np.cumsum([item.frames for item in self.clips])

    def batch(self, step: int) -> Tensor:
        """Return the batch [B, T, 3, H, W] of a step: YUV 4:4:4 in [0, 1], chroma repeated."""
        return to_frames(self.planes(step), torch.device("cpu"))

    def planes(self, step: int, *, first_sample: int = 0) -> Planes:
        """Return the planes of a step's batch: luma [B, T, H, W], chroma [B, T, 2, H/2, W/2].

        Its samples are numbers `first_sample`, `first_sample` + 1, … of that step.
        """
        numbers = range(first_sample, first_sample + self.shape.size)
        samples = [self._sample(step, number) for number in numbers]
        return Planes(
            np.stack([sample.luma for sample in samples]),
            np.stack([sample.chroma for sample in samples]),
        )

    def _sample(self, step: int, sample: int) -> Planes:
        random = np.random.default_rng((self.data.seed, step, sample))
        effect = draw_effect(self.shape.frames, random) if self.data.split == "train" else None
        if effect is None:
            return self._chain(random)
        if effect.material is Material.WHOLE_FRAMES:
            whole = effect.change(self._whole_frames(random), random)
            return _crop(list(zip(whole.luma, whole.chroma, strict=True)), self.shape.crop, random)
        planes = self._chain(random)
        if effect.material is Material.TWO_CHAINS:
            other = self._chain(random)
            planes = Planes(
                np.concatenate((planes.luma, other.luma)),
                np.concatenate((planes.chroma, other.chroma)),
            )
        return effect.change(planes, random)

    def _chain(self, random: Random) -> Planes:
        planes = self._from_photos(random) if self._uses_photo(random) else self._from_clip(random)
        if random.random() < 0.5:
            planes = Planes(planes.luma[..., ::-1], planes.chroma[..., ::-1])
        return planes

    def _uses_photo(self, random: Random) -> bool:
        from_photo = random.random() < self.shape.photo_share
        return bool(self.photos) and (from_photo or not self.clips)

    def _from_photos(self, random: Random) -> Planes:
        chosen = random.integers(len(self.photos), size=2)
        back, front = (Planes(*self.data.frame(self.photos[i], 0)) for i in chosen)
        if self.shape.frames == 1:
            return crop_photo(back, self.shape.crop, random)
        return moving_photo((back, front), self.shape.frames, self.shape.crop, random)

    def _from_clip(self, random: Random) -> Planes:
        return _crop(self._clip_frames(random), self.shape.crop, random)

    def _clip_frames(self, random: Random) -> list[FramePlanes]:
        drawn = random.integers(self.clip_bounds[-1])
        item = self.clips[int(np.searchsorted(self.clip_bounds, drawn, side="right"))]
        frames = self.shape.frames
        long_enough = item.frames > 2 * (frames - 1)
        stride = 2 if long_enough and random.random() < STRIDE_SHARE else 1
        start = int(random.integers(item.frames - stride * (frames - 1)))
        numbers = range(start, start + stride * (frames - 1) + 1, stride)
        if random.random() < REVERSED_SHARE:
            numbers = numbers[::-1]
        return [self.data.frame(item, number) for number in numbers]

    def _whole_frames(self, random: Random) -> Planes:
        """Return a chain of the size of its clip, or of a photograph that stands still."""
        if self._uses_photo(random):
            photo = self.photos[random.integers(len(self.photos))]
            pairs = [self.data.frame(photo, 0)] * self.shape.frames
        else:
            pairs = self._clip_frames(random)
        return Planes(np.stack([luma for luma, _ in pairs]), np.stack([c for _, c in pairs]))


def _crop(pairs: list[FramePlanes], size: int, random: Random) -> Planes:
    """Return a random part, size x size, of frames of luma [h, w] and chroma [2, h/2, w/2]."""
    height, width = pairs[0][0].shape
    top = 2 * int(random.integers((height - size) // 2 + 1))
    left = 2 * int(random.integers((width - size) // 2 + 1))
    rows, columns = slice(top, top + size), slice(left, left + size)
    half_rows = slice(top // 2, (top + size) // 2)
    half_columns = slice(left // 2, (left + size) // 2)
    return Planes(
        np.stack([luma[rows, columns] for luma, _ in pairs]),
        np.stack([chroma[:, half_rows, half_columns] for _, chroma in pairs]),
    )


class _Batches(Dataset[Planes]):
    def __init__(self, sampler: Sampler, first_sample: int) -> None:
        self.sampler = sampler
        self.first_sample = first_sample

    def __getitem__(self, step: int) -> Planes:
        return self.sampler.planes(step, first_sample=self.first_sample)


def draw_batches(
    sampler: Sampler, steps: range, *, first_sample: int, workers: int
) -> Iterable[Planes]:
    """Yield the planes of each step's batch in order, as `Sampler.planes` returns them.

    `workers` processes make them ahead of time; 0: each is made when it is asked for.
    """
    return DataLoader(
        _Batches(sampler, first_sample),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        collate_fn=_as_it_is,  # as arrays, which do not need shared memory
        multiprocessing_context="fork" if workers else None,  # which does not copy the planes
    )


def _as_it_is(planes: Any) -> Any:
    return planes


def to_frames(planes: Planes, device: torch.device) -> Tensor:
    """Return frames [..., 3, H, W] of planes on a device: YUV 4:4:4 in [0, 1], chroma repeated.

    What they need is sent to the device and made there, without waiting for it.
    """
    luma, chroma = (_send(plane, device) for plane in (planes.luma, planes.chroma))
    doubled = chroma.repeat_interleave(2, -1).repeat_interleave(2, -2)
    return torch.cat((luma.unsqueeze(-3), doubled), -3).to(torch.float32).div_(255)


def _send(plane: NDArray[np.uint8], device: torch.device) -> Tensor:
    values = torch.from_numpy(plane)
    if device.type == "cuda":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)
