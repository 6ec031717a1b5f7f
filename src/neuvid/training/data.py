"""Training sets: 8-bit 4:2:0 planes in one memory-mapped file, cut into random batches.

A set is a folder with `planes.bin`, the planes of all clips and photographs one after the other,
and `index.json`, which says where each lies. `preparation.py` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.training.motion import Planes, crop_photo, moving_photo

PLANES_FILE, INDEX_FILE = "planes.bin", "index.json"
INDEX_VERSION = 1
REVERSED_SHARE, STRIDE_SHARE = 0.25, 0.25  # of the clips drawn: backwards; every second frame

Split = Literal["train", "validation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A clip, or a photograph (`frames` = 1), in the file of planes."""

    source: str
    split: Split
    is_photo: bool
    offset: int  # bytes
    frames: int
    width: int
    height: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame: Y, then U, then V."""
        return self.width * self.height * 3 // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShape:
    """What a batch consists of; `photo_share` of the samples are made from photographs."""

    size: int
    frames: int
    crop: int
    photo_share: float


def read_index(folder: Path) -> list[Item]:
    """Return the items of a training set; raise UnreadableInput when it is none."""
    try:
        index = json.loads((folder / INDEX_FILE).read_text())
        if index["version"] != INDEX_VERSION:
            raise ValueError(f"version {index['version']}")
        items = [Item(**item) for item in index["items"]]
        size = (folder / PLANES_FILE).stat().st_size
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}; `neuvid data prepare` makes training sets"
        raise UnreadableInput(folder, reason) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableInput(folder / INDEX_FILE, f"not an index ({error})") from error
    if size != index["bytes"]:
        reason = f"it has {size} bytes, the index says {index['bytes']}"
        raise UnreadableInput(folder / PLANES_FILE, reason)
    return items


class TrainingSet:
    """Random batches of one split of a training set.

    Sample i of step s depends on (seed, s, i) alone, whatever was drawn before. Raises
    UnreadableInput when `folder` holds no training set.
    """

    def __init__(self, folder: Path, split: Split, *, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.items = [item for item in read_index(folder) if item.split == split]
        if not self.items:
            raise UnreadableInput(folder, f"no clips or photographs to use for {split}")
        self.planes: NDArray[np.uint8] = np.memmap(folder / PLANES_FILE, np.uint8, "r")

    def sampler(self, shape: BatchShape) -> Sampler:
        """Return what draws batches of one shape.

        Raises InvalidSetting when no item is long and large enough.
        """
        return Sampler(self, shape)

    def frame(self, item: Item, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return luma [h, w] and chroma [2, h/2, w/2] of one frame, not copied."""
        start = item.offset + number * item.frame_bytes
        luma_end = start + item.width * item.height
        luma = self.planes[start:luma_end].reshape(item.height, item.width)
        chroma = self.planes[luma_end : start + item.frame_bytes]
        return luma, chroma.reshape(2, item.height // 2, item.width // 2)


class Sampler:
    """Draws batches of one shape from a training set."""

    def __init__(self, data: TrainingSet, shape: BatchShape) -> None:
        self.data = data
        self.shape = shape
        large = [item for item in data.items if min(item.width, item.height) >= shape.crop]
        self.photos = [item for item in large if item.is_photo]
        self.clips = [i for i in large if not i.is_photo and i.frames >= shape.frames]
        if not self.photos and not self.clips:
            expected = f"some clip in {data.folder} with {shape.frames} frames of this size"
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
        from_photo = random.random() < self.shape.photo_share
        if self.photos and (from_photo or not self.clips):
            planes = self._from_photos(random)
        else:
            planes = self._from_clip(random)
        if random.random() < 0.5:
            planes = Planes(planes.luma[..., ::-1], planes.chroma[..., ::-1])
        return planes

    def _from_photos(self, random: np.random.Generator) -> Planes:
        chosen = random.integers(len(self.photos), size=2)
        back, front = (Planes(*self.data.frame(self.photos[i], 0)) for i in chosen)
        if self.shape.frames == 1:
            return crop_photo(back, self.shape.crop, random)
        return moving_photo((back, front), self.shape.frames, self.shape.crop, random)

    def _from_clip(self, random: np.random.Generator) -> Planes:
        drawn = random.integers(self.clip_bounds[-1])
        item = self.clips[int(np.searchsorted(self.clip_bounds, drawn, side="right"))]
        frames, crop = self.shape.frames, self.shape.crop
        long_enough = item.frames > 2 * (frames - 1)
        stride = 2 if long_enough and random.random() < STRIDE_SHARE else 1
        start = int(random.integers(item.frames - stride * (frames - 1)))
        numbers = range(start, start + stride * (frames - 1) + 1, stride)
        if random.random() < REVERSED_SHARE:
            numbers = numbers[::-1]
        top = 2 * int(random.integers((item.height - crop) // 2 + 1))
        left = 2 * int(random.integers((item.width - crop) // 2 + 1))
        pairs = [self.data.frame(item, number) for number in numbers]
        rows, columns = slice(top, top + crop), slice(left, left + crop)
        half_rows = slice(top // 2, (top + crop) // 2)
        half_columns = slice(left // 2, (left + crop) // 2)
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
