from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic import texture

from neuvid.training import screens
from neuvid.training.data import BatchShape, TrainingSet
from neuvid.training.effects import (
    EFFECTS,
    Effect,
    Material,
    blur,
    cross_fade,
    cut,
    draw_effect,
    fade,
    flash,
    grain,
    pan,
    saturate,
)
from neuvid.training.motion import Planes
from neuvid.training.screens import draw_captions, draw_screen

FRAMES = 6
SEEDS = range(30)
Draw = Callable[[tuple[int, ...], np.random.Generator], NDArray[np.uint8]]
NAMES = pytest.mark.parametrize("name", EFFECTS)


def still(seed: int, height: int = 64, width: int = 80, frames: int = FRAMES) -> Planes:
    """Return a clip in which nothing moves, that cannot be written to."""
    picture = texture(seed, height, width)
    halved = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    luma = np.broadcast_to(picture[..., 0], (frames, height, width))
    chroma = halved[..., 1:].transpose(2, 0, 1)
    return Planes(luma, np.broadcast_to(chroma, (frames, *chroma.shape)))


def joined(first: Planes, second: Planes) -> Planes:
    return Planes(
        np.concatenate((first.luma, second.luma)), np.concatenate((first.chroma, second.chroma))
    )


def material(effect: Effect, height: int, width: int, frames: int) -> Planes:
    clip = still(1, height, width, frames)
    if effect.material is Material.TWO_CHAINS:
        return joined(clip, still(2, height, width, frames))
    return clip


def equal(first: Planes, second: Planes) -> bool:
    return np.array_equal(first.luma, second.luma) and np.array_equal(first.chroma, second.chroma)


def difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    return first.astype(np.float64) - second


@NAMES
@pytest.mark.parametrize(("height", "width"), [(64, 80), (16, 16), (96, 48)])
def test_effects_are_functions_of_planes_and_seed(name: str, height: int, width: int) -> None:
    effect = EFFECTS[name]
    for frames in (1, 2, 7)[not effect.for_stills :]:
        before = material(effect, height, width, frames)
        results = []
        for seed in SEEDS:
            after = effect.change(before, np.random.default_rng(seed))
            assert after.luma.shape == (frames, height, width)
            assert after.chroma.shape == (frames, 2, height // 2, width // 2)
            assert after.luma.dtype == after.chroma.dtype == np.uint8
            assert equal(after, effect.change(before, np.random.default_rng(seed)))
            results.append(after)
        if frames != 2:  # which can be cut in one place only
            assert any(not equal(results[0], other) for other in results)
        assert equal(before, material(effect, height, width, frames))


@pytest.mark.parametrize("frames", [1, 4])
def test_most_samples_are_left_alone_and_each_effect_has_its_share(frames: int) -> None:
    drawn = [draw_effect(frames, np.random.default_rng(seed)) for seed in range(20000)]
    for effect in EFFECTS.values():
        expected = effect.share if effect.for_stills or frames > 1 else 0.0
        assert abs(drawn.count(effect) / len(drawn) - expected) < 0.01
    assert drawn.count(None) / len(drawn) > 0.6


def test_flashes_change_the_light_within_a_clip() -> None:
    clip = still(1)
    changes = []
    for seed in SEEDS:
        brightness = flash(clip, np.random.default_rng(seed)).luma.mean((1, 2))
        changes.append(np.abs(np.diff(brightness)).max())
    assert np.median(changes) > 5


def test_fades_go_one_way_to_black_or_white() -> None:
    clip = still(1)
    for seed in SEEDS:
        faded = fade(clip, np.random.default_rng(seed))
        contrast = faded.luma.std((1, 2))
        steps = np.diff(contrast)
        assert (steps <= 0.5).all() or (steps >= -0.5).all()
        colour = np.abs(faded.chroma.astype(int) - 128).mean((1, 2, 3))
        assert np.corrcoef(contrast, colour)[0, 1] > 0.99


def test_cross_fades_go_from_one_clip_to_the_other() -> None:
    first, second = still(1), still(2)
    low = np.minimum(first.luma, second.luma).astype(int)
    high = np.maximum(first.luma, second.luma).astype(int)
    for seed in SEEDS:
        mixed = cross_fade(joined(first, second), np.random.default_rng(seed)).luma
        assert (mixed >= low - 1).all() and (mixed <= high + 1).all()
        steps = np.diff(np.abs(difference(mixed, second.luma)).mean((1, 2)))
        assert (steps <= 0.5).all() or (steps >= -0.5).all()


def test_cuts_show_frames_of_either_clip_in_their_order() -> None:
    numbers = np.arange(FRAMES, dtype=np.uint8)
    luma = np.concatenate((numbers, 100 + numbers))[:, None, None].repeat(4, 1).repeat(4, 2)
    chroma = luma[:, None, :2, :2].repeat(2, 1)
    for seed in SEEDS:
        planes = cut(Planes(luma, chroma), np.random.default_rng(seed))
        shown = planes.luma[:, 0, 0]
        assert np.array_equal(shown, planes.chroma[:, 0, 0, 0])
        assert (shown % 100 == np.arange(FRAMES)).all()
        assert shown[0] < 100 and (shown >= 100).any()


def test_saturation_leaves_luma_and_adds_colour() -> None:
    clip = still(1)
    for seed in SEEDS:
        coloured = saturate(clip, np.random.default_rng(seed))
        assert np.array_equal(coloured.luma, clip.luma)
        assert not np.array_equal(coloured.chroma, clip.chroma)


def test_grain_is_fresh_in_each_frame_and_keeps_the_brightness() -> None:
    clip = Planes(np.full((2, 64, 64), 120, np.uint8), np.full((2, 2, 32, 32), 128, np.uint8))
    for seed in SEEDS:
        grained = grain(clip, np.random.default_rng(seed))
        noise = difference(grained.luma, clip.luma)
        assert abs(noise.mean()) < 0.5
        assert noise.std() > 0.5
        assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
        assert difference(grained.chroma, clip.chroma).std() < noise.std()


def test_blur_takes_detail_but_no_brightness() -> None:
    clip = still(1)
    for seed in SEEDS:
        blurred = blur(clip, np.random.default_rng(seed))
        for before, after in ((clip.luma, blurred.luma), (clip.chroma, blurred.chroma)):
            assert abs(difference(after, before).mean()) < 3
            detail = [np.abs(np.diff(p.astype(float))).mean() for p in (before, after)]
            assert detail[1] < detail[0]


def test_pans_move_luma_and_chroma_fast_and_together() -> None:
    clip = still(1, 256, 512, 2)
    speeds = []
    for seed in SEEDS:
        panned = pan(clip, np.random.default_rng(seed))
        shifts = []
        for plane, scale in ((panned.luma, 1), (panned.chroma[:, 0], 2)):
            first, second = plane[:, 20:-20, 20:-20].astype(np.float32)
            window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
            (x, y), _ = cv2.phaseCorrelate(first, second, window)
            shifts.append((scale * x, scale * y))
        assert np.abs(np.subtract(shifts[0], shifts[1])).max() < 1
        speeds.append(np.hypot(*shifts[0]))
    assert 8 < np.median(speeds) < 40


@pytest.mark.parametrize("draw", [draw_captions, draw_screen])
def test_text_has_sharp_edges_and_covers_no_more_than_it_says(draw: Draw) -> None:
    steps = []
    for seed in SEEDS:
        layer = draw((FRAMES, 64, 80), np.random.default_rng(seed))
        assert layer.shape == (FRAMES, 64, 80, 4)
        assert (layer[..., :3] <= layer[..., 3:]).all()
        steps.append(np.abs(np.diff(layer[..., 0].astype(int), axis=2)).max())
    assert np.median(steps) > 100


@pytest.mark.parametrize("has_broken_font", [False, True])
def test_text_is_drawn_where_no_font_is_found(
    has_broken_font: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_broken_font:
        (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(screens, "FONT_FOLDERS", (str(tmp_path),))
    screens._font_files.cache_clear()
    layers = [draw_captions((2, 64, 80), np.random.default_rng(seed)) for seed in SEEDS]
    screens._font_files.cache_clear()
    assert np.mean([layer[..., 3].max() == 255 for layer in layers]) > 0.8


def test_captions_leave_most_of_the_clip_and_screens_replace_it() -> None:
    def cover(layers: list[NDArray[np.uint8]]) -> float:
        return float(np.median([layer[..., 3].mean() / 255 for layer in layers]))

    shape = (FRAMES, 128, 128)
    randoms = [np.random.default_rng(seed) for seed in SEEDS]
    assert cover([draw_captions(shape, random) for random in randoms]) < 0.4
    assert cover([draw_screen(shape, random) for random in randoms]) > 0.9


def is_part_of_a_clip(frame: NDArray[np.uint8], data: TrainingSet) -> bool:
    """Return whether a luma frame, mirrored or not, is somewhere in a set as it is."""
    return any(
        cv2.matchTemplate(data.frame(item, number)[0], shown, cv2.TM_SQDIFF).min() < frame.size / 4
        for item in data.items
        for number in range(item.frames)
        for shown in (frame, frame[:, ::-1].copy())
    )


def test_effects_are_for_training_alone(training_set: Path) -> None:
    shape = BatchShape(size=24, frames=2, crop=64, photo_share=0.0)
    unchanged = {}
    for split in ("train", "validation"):
        data = TrainingSet(training_set, split, seed=1)
        pixels = (data.sampler(shape).batch(0) * 255).round().byte().numpy()
        unchanged[split] = sum(is_part_of_a_clip(clip[-1, 0], data) for clip in pixels)
    assert unchanged["validation"] == 24
    assert 8 < unchanged["train"] < 24
