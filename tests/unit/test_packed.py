from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from disks import file_size_limit
from synthetic import pan, texture, write_video

from neuvid.cli.main import main
from neuvid.errors import InvalidSetting, UnreadableInput, UnwritableOutput
from neuvid.training.data import BatchShape, TrainingSet
from neuvid.training.items import Item, Split, read_index
from neuvid.training.packed import (
    HEAD,
    MAGIC,
    decode_with_opencv,
    decode_with_pyav,
    read_packed,
    to_picture,
)
from neuvid.training.packing import PIECE_FRAMES, pack
from neuvid.training.preparation import prepare

SPLITS: tuple[Split, Split] = ("train", "validation")
WHOLE = 10**7  # bytes; more than any set here


@pytest.fixture(scope="module")
def packed_set(training_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "set.nvset"
    pack(training_set, out, size=WHOLE)
    return out


@pytest.fixture(scope="module")
def long_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a training set of clips of several pieces, and a photograph of odd proportions."""
    videos = tmp_path_factory.mktemp("videos")
    for seed in range(2):
        write_video(videos / f"long{seed}.mp4", pan(seed, 3 * PIECE_FRAMES, 1))
    write_video(videos / "short.mp4", pan(5, 10, 2))
    cv2.imwrite(str(videos / "photo.png"), texture(7, 98, 130))
    out = tmp_path_factory.mktemp("long-set")
    prepare([videos], out, height=288)
    return out


def sources_of(items: list[Item]) -> set[tuple[str, Split, bool]]:
    return {(item.source, item.split, item.is_photo) for item in items}


def read_all(path: Path) -> list[Item]:
    return [item for split in SPLITS for item in read_packed(path, split)[0]]


def mean_squared_error(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.square(first.astype(float) - second.astype(float)).mean())


def test_a_packed_set_shows_what_the_folder_does(training_set: Path, packed_set: Path) -> None:
    assert sources_of(read_all(packed_set)) == sources_of(read_index(training_set))
    for split in SPLITS:
        folder = TrainingSet(training_set, split, seed=1)
        packed = TrainingSet(packed_set, split, seed=1)
        originals = {item.source: item for item in folder.items}
        for item in packed.items:
            original = originals[item.source]
            assert item.frames == original.frames
            for number in range(item.frames):
                pairs = zip(folder.frame(original, number), packed.frame(item, number), strict=True)
                assert all(mean_squared_error(*pair) < 8 for pair in pairs)


def test_batches_come_from_packed_sets_too(packed_set: Path) -> None:
    shape = BatchShape(size=3, frames=5, crop=64, photo_share=0.5)
    batch = TrainingSet(packed_set, "train", seed=1).sampler(shape).batch(0)
    assert batch.shape == (3, 5, 3, 64, 64)
    again = TrainingSet(packed_set, "train", seed=1).sampler(shape).batch(0)
    assert torch.equal(batch, again)


def test_all_sources_contribute_within_the_size(long_set: Path, tmp_path: Path) -> None:
    everything = pack(long_set, tmp_path / "all", size=WHOLE)
    per_source = {clip.source: 0 for clip in everything}
    for clip in everything:
        per_source[clip.source] += clip.frames
    expected = {"photo.png": 1, "short.mp4": 10}
    expected |= {f"long{seed}.mp4": 3 * PIECE_FRAMES for seed in range(2)}
    assert per_source == expected
    whole = (tmp_path / "all").stat().st_size
    for size in (whole // 4, whole // 2, whole - 1):
        clips = pack(long_set, tmp_path / "part", size=size)
        assert 0.7 * size < (tmp_path / "part").stat().st_size <= size
        assert {clip.source for clip in clips} == set(expected)
        assert len(read_all(tmp_path / "part")) == len(clips)


def test_packing_is_deterministic(long_set: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        pack(long_set, tmp_path / name, size=100_000)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_both_decoders_give_the_same_pictures(long_set: Path, tmp_path: Path) -> None:
    clips = pack(long_set, tmp_path / "set", size=WHOLE)
    content = (tmp_path / "set").read_bytes()
    start = len(content) - sum(clip.bytes for clip in clips)
    for clip in clips:
        stream = content[start : start + clip.bytes]
        start += clip.bytes
        pictures = list(decode_with_pyav(stream))
        assert len(pictures) == clip.frames
        assert np.array_equal(pictures, list(decode_with_opencv(stream)))  # tolerance 0


def test_training_data_is_read_without_pyav(packed_set: Path) -> None:
    script = f"""
import sys
sys.modules["av"] = None  # importing it fails
from pathlib import Path
import neuvid.training.trainer
from neuvid.training.packed import read_packed
print(read_packed(Path({str(packed_set)!r}), "train")[1].tobytes().hex())
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert bytes.fromhex(run.stdout) == read_packed(packed_set, "train")[1].tobytes()


def test_pictures_have_an_even_height() -> None:
    luma, chroma = np.zeros((66, 64), np.uint8), np.ones((2, 33, 32), np.uint8)
    picture = to_picture(luma, chroma)
    assert picture.shape == (100, 64)
    assert not picture[:66].any() and picture[66:].all()


def test_cut_and_damaged_files_are_refused(packed_set: Path, tmp_path: Path) -> None:
    content = packed_set.read_bytes()
    file = tmp_path / "file"

    def refuse(changed: bytes, match: str) -> None:
        file.write_bytes(changed)
        with pytest.raises(UnreadableInput, match=match):
            TrainingSet(file, "train", seed=1)

    for length in (len(MAGIC), HEAD.size, HEAD.size + 20, len(content) // 2, len(content) - 1):
        refuse(content[:length], f"{length} bytes")
    refuse(b"", "no training set")
    refuse(b"something else", "no training set")
    refuse(content + b"\0", "the index says")
    version = content[: len(MAGIC)] + b"\0\0\0\x09" + content[len(MAGIC) + 4 :]
    refuse(version, "version 9 .* known is 1")
    for place in (HEAD.size + 5, len(content) // 2):
        damaged = bytes([*content[:place], content[place] ^ 1, *content[place + 1 :]])
        refuse(damaged, "damaged: the checksum")


def test_what_cannot_be_packed_is_refused(training_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="neuvid data prepare"):
        pack(tmp_path, tmp_path / "out", size=WHOLE)
    with pytest.raises(InvalidSetting, match=r"size is 1000; allowed is \d+ bytes or more"):
        pack(training_set, tmp_path / "out", size=1000)
    with pytest.raises(UnwritableOutput):
        pack(training_set, tmp_path / "none" / "out", size=WHOLE)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnwritableOutput):
        pack(training_set, tmp_path / "folder", size=WHOLE)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_leaves_the_old_file(training_set: Path, tmp_path: Path) -> None:
    (tmp_path / "set").write_bytes(b"old")
    with pytest.raises(UnwritableOutput, match="File too large"), file_size_limit(500):
        pack(training_set, tmp_path / "set", size=WHOLE)
    assert (tmp_path / "set").read_bytes() == b"old"


def test_the_command_packs(
    training_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set.nvset"
    arguments = ["data", "pack", str(training_set), "--out", str(out), "--size"]
    assert main([*arguments, "1MB"]) == 0
    assert "clips of" in capsys.readouterr().out
    assert sources_of(read_all(out)) == sources_of(read_index(training_set))
    assert main([*arguments, "40 potatoes"]) == 2
    assert "size is '40 potatoes'; allowed is" in capsys.readouterr().err
