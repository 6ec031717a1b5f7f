"""Presets, their size, and checkpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from conftest import TINY_DYNAMIC, TINY_HYBRID

from neuvid.errors import InvalidSetting, UnreadableInput, UnwritableOutput
from neuvid.models.base import ModelConfig
from neuvid.models.checkpoint import (
    STILLS,
    Arithmetic,
    LoadedModel,
    checkpoint_digest,
    load_model,
    read_weights,
    save_model,
    ship_checkpoint,
    shipped_weights,
)
from neuvid.models.complexity import measure_complexity
from neuvid.models.presets import PRESETS, RT_SMALL, build_model
from neuvid.models.published import read_published
from neuvid.training.initialisation import initialise


def test_presets_are_as_large_as_the_papers_say() -> None:
    middle, large = (measure_complexity(PRESETS[name]) for name in ("rt", "rt-large"))
    assert middle.image_parameters == large.image_parameters == 45_651_314
    assert middle.video_parameters == 20_691_456
    inter = sum(middle.inter[0].values())
    assert inter == pytest.approx(194.94, rel=0.001)
    assert sum(large.inter[0].values()) == pytest.approx(2 * inter, rel=0.03)


@pytest.mark.parametrize(
    ("name", "most"), [("rt-small", 26), ("fm-small", 30), ("dynamic-small", 30)]
)
def test_small_presets_are_small(name: str, most: float, tmp_path: Path) -> None:
    assert 16 < sum(measure_complexity(PRESETS[name]).inter[-1].values()) < most
    network = build_model(PRESETS[name])
    initialise(network)
    save_model(tmp_path / "model.safetensors", name, network, {})
    assert (tmp_path / "model.safetensors").stat().st_size < 32e6


def test_nothing_bounds_the_quality_of_a_picture_with_a_linear_path() -> None:
    network = build_model(RT_SMALL)
    initialise(network)
    torch.manual_seed(0)
    frame = torch.rand(1, 3, 64, 96)
    frame[:, 1:] = frame[:, 1:, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    positions = torch.tensor([32.0])
    with torch.inference_mode():
        y = network.intra.analyse(frame, positions)
        error = (network.intra.synthesise(y, positions) - frame).square().mean()
    assert error < 1e-3 * frame.var()


def test_complexity_counts_each_convolution() -> None:
    config = RT_SMALL
    complexity = measure_complexity(config)
    per_patch = 8 * 8 * 1000
    (inter,) = complexity.inter
    assert inter["embed"] == 192 * config.feature_channels / per_patch
    latents = config.latent_channels * 9 * config.feature_channels
    assert inter["down"] == latents / (4 * per_patch)
    assert not any(name.startswith("intra") for name in inter)
    assert all(name.startswith("intra") for name in complexity.intra)


def test_a_checkpoint_keeps_the_model(checkpoint: Path, tmp_path: Path) -> None:
    model = load_model(checkpoint, arithmetic=Arithmetic.FLOAT32)
    assert model.name == "tiny"
    assert len(model.digest) == 16 and model.digest == checkpoint_digest(checkpoint)
    again = tmp_path / "again.safetensors"
    save_model(again, model.name, model.network, {})
    before, after = (safetensors.torch.load_file(path) for path in (checkpoint, again))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert load_model(again).network.config == model.network.config


def test_a_checkpoint_can_be_read_by_all(checkpoint: Path) -> None:
    reference = checkpoint.with_name("reference")
    reference.touch()
    assert checkpoint.stat().st_mode == reference.stat().st_mode


def test_other_weights_have_another_digest(checkpoint: Path, other_checkpoint: Path) -> None:
    assert checkpoint_digest(checkpoint) != checkpoint_digest(other_checkpoint)


def test_weights_are_stored_in_half_precision(checkpoint: Path) -> None:
    weights = read_weights(checkpoint)
    assert weights and all(torch.equal(value, value.half().float()) for value in weights.values())


def test_a_model_is_ready_for_inference(model: LoadedModel) -> None:
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_where_their_weights_are(name: str) -> None:
    if shipped_weights(name):
        assert load_model(name).network.config == PRESETS[name]
    else:
        with pytest.raises(InvalidSetting, match="preset with weights"):
            load_model(name)


def test_unknown_models_and_devices_are_refused(checkpoint: Path) -> None:
    with pytest.raises(InvalidSetting, match=f"'rt-tiny'; allowed is {', '.join(PRESETS)}"):
        load_model("rt-tiny")
    with pytest.raises(InvalidSetting, match="device is 'tpu9'"):
        load_model(checkpoint, device="tpu9")


def rewritten(checkpoint: Path, path: Path, **changes: str) -> Path:
    """Copy a checkpoint with changes of its metadata."""
    with safetensors.safe_open(checkpoint, framework="pt") as file:
        metadata = dict(file.metadata()) | changes
    safetensors.torch.save_file(safetensors.torch.load_file(checkpoint), path, metadata)
    return path


def test_what_is_no_checkpoint_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="a folder"):
        read_weights(tmp_path)
    path = tmp_path / "x.safetensors"
    with pytest.raises(UnreadableInput, match="no checkpoint"):
        load_model(path)
    path.write_bytes(b"no tensors here")
    with pytest.raises(UnreadableInput, match="no checkpoint"):
        load_model(path)
    path.write_bytes(checkpoint.read_bytes()[:10_000])
    with pytest.raises(UnreadableInput, match="no checkpoint"):
        load_model(path)
    for changes in ({"format": "other"}, {"config": "{}"}, {"config": "not json"}):
        with pytest.raises(UnreadableInput, match="checkpoint"):
            load_model(rewritten(checkpoint, path, **changes))


@pytest.mark.parametrize("key", ["head.weight", "tables.starts", "tables.cumulative"])
@pytest.mark.parametrize("damage", ["missing", "short"])
def test_damaged_checkpoints_are_refused(
    checkpoint: Path, tmp_path: Path, key: str, damage: str
) -> None:
    with safetensors.safe_open(checkpoint, framework="pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(checkpoint)
    value = tensors.pop(key)
    if damage == "short":
        tensors[key] = value[:-1].contiguous()
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(UnreadableInput, match="damaged"):
        load_model(path)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path, model: LoadedModel) -> None:
    network = build_model(model.network.config)
    with pytest.raises(UnwritableOutput, match="folder does not exist"):
        save_model(tmp_path / "missing" / "x.safetensors", "x", network, {})
    assert not list(tmp_path.iterdir())


def test_shipped_checkpoints_are_as_the_whole_ones(checkpoint: Path, tmp_path: Path) -> None:
    ship_checkpoint(checkpoint, tmp_path)
    path, stills = tmp_path / "tiny.safetensors", tmp_path / STILLS
    of_preset, of_stills, whole = map(safetensors.torch.load_file, (path, stills, checkpoint))
    assert of_stills.keys() == {key for key in whole if key.startswith("intra.")}
    assert of_preset.keys() == whole.keys() - of_stills.keys()
    assert all(torch.equal(value, whole[key]) for key, value in (of_preset | of_stills).items())
    model, same = load_model(path), load_model(checkpoint)
    assert model.network.config == same.network.config
    assert model.digest == checkpoint_digest(path) != same.digest
    weights = read_weights(path)
    assert all(torch.equal(weights[key], value) for key, value in read_weights(checkpoint).items())
    before = path.read_bytes(), stills.read_bytes()
    ship_checkpoint(checkpoint, tmp_path)
    assert before == (path.read_bytes(), stills.read_bytes())
    with pytest.raises(InvalidSetting, match="allowed is a whole one"):
        ship_checkpoint(stills, tmp_path)


def test_shipped_checkpoints_need_their_still_pictures(
    checkpoint: Path, other_checkpoint: Path, tmp_path: Path
) -> None:
    ship_checkpoint(checkpoint, tmp_path)
    path, stills = tmp_path / "tiny.safetensors", tmp_path / STILLS
    stills.unlink()
    for read in (read_weights, load_model):
        with pytest.raises(UnreadableInput, match=f"is missing: {stills}"):
            read(path)
    (tmp_path / "other").mkdir()
    ship_checkpoint(other_checkpoint, tmp_path / "other")
    (tmp_path / "other" / STILLS).replace(stills)
    for read in (read_weights, load_model):
        with pytest.raises(UnreadableInput, match="another still-picture model"):
            read(path)


def test_a_script_ships_checkpoints_with_one_still_picture_model(tmp_path: Path) -> None:
    stills: dict[str, torch.Tensor] = {}

    def saved(name: str, config: ModelConfig) -> Path:
        network = build_model(config)
        initialise(network)
        network.load_state_dict(network.state_dict() | stills)
        save_model(tmp_path / name, name, network, {})
        return tmp_path / name

    def script(*paths: Path) -> subprocess.CompletedProcess[str]:
        file = Path(__file__).parents[2] / "scripts" / "ship_weights.py"
        command = [str(each) for each in (sys.executable, file, *paths, "--out", tmp_path)]
        return subprocess.run(command, capture_output=True, text=True)

    first, other = saved("first", TINY_HYBRID), saved("other", TINY_HYBRID)
    stills |= {key: value for key, value in read_weights(first).items() if key[:6] == "intra."}
    second = saved("second", TINY_DYNAMIC)
    assert script(first, second).returncode == 0
    for name, config in {"first": TINY_HYBRID, "second": TINY_DYNAMIC}.items():
        assert load_model(tmp_path / f"{name}.safetensors").network.config == config
    refused = script(other)
    assert refused.returncode == 1
    assert f"allowed is one with the still-picture model in {tmp_path}" in refused.stderr
    assert not (tmp_path / "other.safetensors").exists()


def test_published_checkpoints_are_recognised(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    for content in (b"", b"no pickle", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(UnreadableInput, match="no PyTorch checkpoint"):
            read_published([path])
    torch.save({"state_dict": {"conv.weight": torch.zeros(1)}}, path)
    with pytest.raises(UnreadableInput, match="not one of the published networks"):
        read_published([path])
    torch.save({"q_recon": torch.zeros(1)}, path)
    with pytest.raises(UnreadableInput, match="not the published DCVC-RT video"):
        read_published([path])
    torch.save({"module.q_recon": torch.zeros(1, 1, 1, 1)}, path)
    with pytest.raises(UnreadableInput, match="DCVC-RT image checkpoint is needed"):
        read_published([path])
    with pytest.raises(UnreadableInput, match="a second DCVC-RT video"):
        read_published([path, path])
    other = tmp_path / "other.pth"
    torch.save({"mv_y_q_enc": torch.ones(2, 1, 1, 1)}, other)
    with pytest.raises(UnreadableInput, match="DCVC-FM image checkpoint is needed"):
        read_published([other])
    with pytest.raises(UnreadableInput, match="DCVC-RT image checkpoint is needed"):
        read_published([path, other])
