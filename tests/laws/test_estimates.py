"""Estimated bits are the bytes of the payloads, over any clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from clips import moving_frames, moving_info
from numpy.typing import NDArray
from torch import Tensor

from neuvid.choice import FrameChoice, FrameKind
from neuvid.codec.schedule import LEVEL_PATTERN
from neuvid.entropy.coder import RateEstimator, SymbolWriter
from neuvid.entropy.distributions import Distribution
from neuvid.models.checkpoint import LoadedModel
from neuvid.video.colour import frame_to_tensor
from neuvid.video.frame import Frame

INFO = moving_info((112, 96))  # small enough for compact payloads, whatever is coded
FRAMES = 6
ENDS = 8 * 2.5  # bits of a compact payload's ends, on average; at most 4 more or less
Plane = NDArray[np.uint8]
Change = Callable[[Plane, int], Plane]  # of a plane of a frame with a number


def noisy(plane: Plane, number: int) -> Plane:
    noise = np.random.default_rng(number).normal(0, 6, plane.shape)
    return (plane + noise).clip(0, 255).astype(np.uint8)


def black(plane: Plane, number: int) -> Plane:
    return np.full_like(plane, 16 if plane.shape[0] == INFO.size.height else 128)


def choices(quality: float, count: int) -> Iterator[FrameChoice]:
    yield FrameChoice(FrameKind.INTRA, quality)
    for number in range(1, count):
        yield FrameChoice(FrameKind.INTER, quality, LEVEL_PATTERN[number % len(LEVEL_PATTERN)])


class Counter(SymbolWriter):
    """Writes symbols, and counts the bits that the tables ask for."""

    bits = 0.0

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        rounded = super().code(values, law)
        symbols = rounded.flatten().numpy().astype(np.int16)
        self.bits += self.tables.native.bits(symbols, self.tables.indexes(law))
        return rounded


@torch.inference_mode()
def costs(model: LoadedModel, change: Change | None, quality: float) -> tuple[float, float, float]:
    """Return the estimated bits, those of the tables, and the bits without the ends."""
    still = next(moving_frames(INFO, 1))
    estimate, counted, size = 0.0, 0.0, 0.0
    state = model.network.initial_state(INFO.size.height, INFO.size.width)
    for number, choice in enumerate(choices(quality, FRAMES)):
        planes = tuple(change(plane, number) if change else plane for plane in still.planes)
        tensor = frame_to_tensor(Frame(planes, number), INFO.pixel_format)
        estimator, counter = RateEstimator(noise=False), Counter(model.tables)
        model.network.code_frame(tensor, state, choice, estimator)
        state = model.network.code_frame(tensor, state, choice, counter)
        estimate += float(estimator.total())
        counted += counter.bits
        size += 8 * len(counter.finish()) - ENDS
    return estimate, counted, size


@pytest.mark.parametrize("quality", [0.0, 32.0, 63.0])
@pytest.mark.parametrize("change", [noisy, black, None])
def test_bits_of_the_tables_are_bytes(
    model: LoadedModel, change: Change | None, quality: float
) -> None:
    _, counted, size = costs(model, change, quality)
    assert size == pytest.approx(counted, rel=0.01, abs=4 * FRAMES)


@pytest.mark.parametrize("quality", [0.0, 32.0, 63.0])
@pytest.mark.parametrize("change", [noisy, None])
def test_bits_estimated_in_training_are_bytes(
    model: LoadedModel, change: Change | None, quality: float
) -> None:
    """Not where a picture is one colour: training knows the exact scales, tables steps of 5 %."""
    estimate, _, size = costs(model, change, quality)
    assert size == pytest.approx(estimate, rel=0.01, abs=4 * FRAMES)
