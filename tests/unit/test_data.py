from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from disks import file_size_limit
from synthetic import pan, texture, write_video

from neuvid.errors import InvalidSetting, UnreadableInput, UnwritableOutput
from neuvid.training.data import BatchShape, TrainingSet, draw_batches, to_frames
from neuvid.training.items import INDEX_FILE, PLANES_FILE, read_index
from neuvid.training.motion import CameraPath, Planes, moving_photo
from neuvid.training.preparation import prepare

CLIPS = BatchShape(size=6, frames=5, crop=64, photo_share=0.0)
PHOTOS = BatchShape(size=6, frames=5, crop=64, photo_share=1.0)
MIXED_IMAGES = BatchShape(size=12, frames=1, crop=64, photo_share=0.5)


@pytest.mark.parametrize("shape", [CLIPS, PHOTOS, MIXED_IMAGES])
def test_a_sample_depends_on_seed_step_and_number_alone(
    training_set: Path, shape: BatchShape
) -> None:
    sampler = TrainingSet(training_set, "train", seed=3).sampler(shape)
    third = sampler.batch(3)
    sampler.batch(4)
    again = TrainingSet(training_set, "train", seed=3).sampler(shape)
    assert torch.equal(again.batch(3), third)
    part = to_frames(again.planes(3, first_sample=2), torch.device("cpu"))
    assert torch.equal(part[0], third[2])
    assert not torch.equal(again.batch(4), third)
    other_seed = TrainingSet(training_set, "train", seed=4).sampler(shape)
    assert not torch.equal(other_seed.batch(3), third)


@pytest.mark.parametrize("shape", [CLIPS, PHOTOS, MIXED_IMAGES])
def test_batches_are_420_video_in_unit_range(training_set: Path, shape: BatchShape) -> None:
    batch = TrainingSet(training_set, "train", seed=1).sampler(shape).batch(0)
    assert batch.shape == (shape.size, shape.frames, 3, 64, 64)
    assert batch.dtype is torch.float32
    assert batch.min() >= 0 and batch.max() <= 1
    chroma = batch[:, :, 1:]
    assert torch.equal(chroma[..., 0::2], chroma[..., 1::2])
    assert torch.equal(chroma[..., 0::2, :], chroma[..., 1::2, :])


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_the_order_of_steps(training_set: Path, workers: int) -> None:
    sampler = TrainingSet(training_set, "train", seed=1).sampler(CLIPS)
    drawn = list(draw_batches(sampler, range(2, 9), first_sample=1, workers=workers))
    assert len(drawn) == 7
    for step, planes in enumerate(drawn, start=2):
        expected = sampler.planes(step, first_sample=1)
        assert np.array_equal(planes.luma, expected.luma)
        assert np.array_equal(planes.chroma, expected.chroma)


def test_sources_are_split_and_stored_as_they_were(footage: Path, training_set: Path) -> None:
    items = read_index(training_set)
    sources = {item.source: item.split for item in items}
    assert len(sources) == 7  # every source is used, and is in one split alone
    assert sorted(sources.values()).count("validation") == 2
    for kind in (True, False):
        assert {item.split for item in items if item.is_photo is kind} == {"train", "validation"}
    photo = next(item for item in items if item.is_photo)
    luma, chroma = TrainingSet(training_set, photo.split, seed=0).frame(photo, 0)
    assert luma.shape == (160, 200) and chroma.shape == (2, 80, 100)
    picture = np.asarray(cv2.imread(str(footage / photo.source)), float)
    blue, green, red = picture.transpose(2, 0, 1)
    expected = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # BT.709, full range
    assert np.abs(luma - expected).max() <= 2


def test_a_still_camera_shows_the_photograph_itself() -> None:
    picture = texture(1, 96, 96)
    photo = Planes(picture[..., 0], picture[::2, ::2, 1:].transpose(2, 0, 1).copy())
    still = CameraPath(np.array([40.0, 50.0]), np.zeros(2), 0.0, 0.0, np.zeros((1, 2)))
    for plane, subsampling in ((photo.luma, 1), (photo.chroma[0], 2)):
        size = 32 // subsampling
        matrix = still.matrix(0, 32, subsampling)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown = cv2.warpAffine(plane, matrix, (size, size), flags=flags)
        top, left = 34 // subsampling, 24 // subsampling
        assert np.array_equal(shown, plane[top : top + size, left : left + size])


def test_synthetic_clips_move_more_with_time() -> None:
    photos = [texture(seed, 160, 200) for seed in (1, 2)]
    back, front = (Planes(p[..., 0], p[::2, ::2, 1:].transpose(2, 0, 1).copy()) for p in photos)
    near, far = [], []
    for seed in range(20):
        luma = moving_photo((back, front), 6, 64, np.random.default_rng(seed)).luma.astype(float)
        near.append(np.abs(luma[1] - luma[0]).mean())
        far.append(np.abs(luma[5] - luma[0]).mean())
    assert np.mean(far) > 1.5 * np.mean(near) > 0


def test_scene_changes_cut_and_static_clips_are_dropped(tmp_path: Path) -> None:
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    write_video(scenes / "two.mp4", pan(1, 6, 2) + pan(50, 9, 2))
    write_video(scenes / "still.mp4", [texture(3, 96, 128)] * 8)
    (scenes / "broken.mp4").write_bytes(b"no video at all")
    (scenes / "broken.jpg").write_bytes(b"no picture")
    items, skipped = prepare([scenes], tmp_path / "out", height=288)
    assert [item.frames for item in items] == [6, 9]
    assert sorted(skipped) == ["broken.jpg", "broken.mp4", "still.mp4"]
    assert json.loads((tmp_path / "out" / INDEX_FILE).read_text())["skipped"] == skipped


def test_videos_are_scaled_down_but_never_up(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    write_video(videos / "wide.mp4", pan(1, 4, 2))
    write_video(videos / "tall.mp4", [np.rot90(p) for p in pan(2, 4, 2)])
    sizes = {}
    for height in (64, 288):
        items, _ = prepare([videos], tmp_path / str(height), height=height)
        sizes[height] = {item.source: (item.width, item.height) for item in items}
    assert sizes[64] == {"wide.mp4": (86, 64), "tall.mp4": (64, 86)}
    assert sizes[288] == {"wide.mp4": (128, 96), "tall.mp4": (96, 128)}


def test_what_cannot_be_prepared_is_refused(tmp_path: Path, footage: Path) -> None:
    with pytest.raises(UnreadableInput, match="not a folder"):
        prepare([tmp_path / "none"], tmp_path / "out", height=288)
    with pytest.raises(UnreadableInput, match="no usable"):
        prepare([tmp_path], tmp_path / "out", height=288)
    with pytest.raises(InvalidSetting, match="height"):
        prepare([footage], tmp_path / "out", height=8)
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableOutput):
        prepare([footage], tmp_path / "file", height=288)


def test_a_full_disk_leaves_the_old_set(tmp_path: Path, footage: Path) -> None:
    out = tmp_path / "out"
    prepare([footage], out, height=288)
    before = read_index(out)
    with pytest.raises(UnwritableOutput, match="File too large"), file_size_limit(2000):
        prepare([footage], out, height=64)
    assert read_index(out) == before
    assert {path.name for path in out.iterdir()} == {INDEX_FILE, PLANES_FILE}


def test_damaged_sets_are_refused(tmp_path: Path, footage: Path) -> None:
    with pytest.raises(UnreadableInput, match="neuvid data prepare"):
        TrainingSet(tmp_path, "train", seed=1)
    prepare([footage], tmp_path, height=288)
    os.truncate(tmp_path / PLANES_FILE, 1000)
    with pytest.raises(UnreadableInput, match="1000 bytes"):
        TrainingSet(tmp_path, "train", seed=1)
    (tmp_path / INDEX_FILE).write_text('{"version": 1}')
    with pytest.raises(UnreadableInput, match="not an index"):
        TrainingSet(tmp_path, "train", seed=1)


def test_too_large_crops_and_too_long_chains_are_refused(training_set: Path) -> None:
    data = TrainingSet(training_set, "train", seed=1)
    with pytest.raises(InvalidSetting, match="crop"):
        data.sampler(BatchShape(size=1, frames=1, crop=256, photo_share=0.5))
    data.items = [item for item in data.items if not item.is_photo]
    with pytest.raises(InvalidSetting, match="13 frames"):
        data.sampler(BatchShape(size=1, frames=13, crop=64, photo_share=0.5))
