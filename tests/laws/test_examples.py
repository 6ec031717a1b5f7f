"""The examples and the code in the pages do what they say."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from shutil import copy, copytree
from typing import Any

import numpy as np
import pytest
import torch
from clips import moving_clip, moving_frames, moving_info
from conftest import TINY_HYBRID
from safetensors.torch import save_file
from torch import Tensor, nn

import neuvid
from neuvid.choice import FrameChoice, FrameKind
from neuvid.cli.main import main
from neuvid.errors import InvalidSetting, UnreadableInput
from neuvid.models.checkpoint import FORMAT, LoadedModel, read_weights, save_model
from neuvid.models.fm_small import HybridConfig, HybridModel
from neuvid.models.presets import build_model
from neuvid.video.colour import frame_to_tensor

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, an empty one; modules in it and in examples/ are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(line: str) -> None:
    """Run a line of a shell, which calls `neuvid`, in this process, and training for few steps."""
    command, *arguments = shlex.split(line)
    assert command == "neuvid"
    if arguments[0] == "train":
        arguments += ["--processes", "1", "--threads", "1", "--steps", "3"]
    assert main(arguments) == 0


def test_a_file_is_encoded(folder: Path) -> None:
    import encode_a_file

    clip = moving_clip(folder / "clip.mp4", frames=3)
    assert encode_a_file.encode(clip, folder / "clip.nvid", quality=40).frames == 3
    assert neuvid.decode_stream("clip.nvid", "back.mkv").written_frames == 3


def test_frames_go_through_a_pipe() -> None:
    from stream_frames import moving_square, through_a_pipe

    for sent, received in zip(moving_square(4), through_a_pipe(moving_square(4)), strict=True):
        assert np.abs(sent - received.astype(float)).mean() < 5


def test_a_rate_controller_of_ones_own_is_obeyed(folder: Path) -> None:
    import own_rate_control

    clip, limit = moving_clip(folder / "clip.mp4", frames=4), 6000.0
    control = own_rate_control.FrameLimit(limit)
    own_rate_control.encode(clip, folder / "clip.nvid", control)
    assert len(control.taken) == 4
    assert max(control.taken) <= limit


def test_a_network_of_ones_own_is_trained_and_used(folder: Path, training_set: Path) -> None:
    import own_network

    own_network.save_start(folder / "start.safetensors")
    recipe = f"{EXAMPLES / 'own_network.py'}:RECIPE"
    run(f"neuvid train {recipe} --data {training_set} --out run --init start.safetensors")
    before, after = map(read_weights, (Path("start.safetensors"), Path("run/last.safetensors")))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("filter.") for name in changed)
    clip = moving_clip(folder / "clip.mp4", frames=3)
    own_network.encode(Path("run/last.safetensors"), clip, folder / "clip.nvid")
    assert len(list(neuvid.read("clip.nvid", model="run/last.safetensors"))) == 3


def test_the_page_of_a_new_family_works(folder: Path, footage: Path) -> None:
    """Its blocks run from the first to the last; those with a title make up a file."""
    copytree(footage, "videos")
    copy(footage / "pan0.mp4", "videos/clip.mp4")
    page = (REPOSITORY / "docs" / "new-family.md").read_text()
    blocks = re.findall(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", page, re.M | re.S)
    for _, title, code in blocks:
        if title:
            with (folder / title).open("a") as file:
                file.write(code)
    names: dict[str, Any] = {}
    for kind, title, code in blocks:
        if kind == "python" and not title:
            exec(code, names)
        elif kind == "sh":
            for line in code.splitlines():
                run(line)
    assert neuvid.read("clip.nvid", model=names["model"])[-1].rgb().any()


def test_a_family_is_told_by_its_name(folder: Path) -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Twin(HybridConfig):
        """As that of fm-small."""

    config = Twin(**{field.name: getattr(TINY_HYBRID, field.name) for field in fields(TINY_HYBRID)})
    with pytest.raises(InvalidSetting, match="config is 'Twin'; allowed is that of a family"):
        build_model(config)
    with pytest.raises(InvalidSetting, match="family is 'fm-small'; allowed is a name that no"):
        neuvid.register_family("fm-small", Twin, HybridModel)
    neuvid.register_family("twin", Twin, HybridModel)
    checkpoint = folder / "twin.safetensors"
    save_model(checkpoint, "twin", build_model(config), {})
    assert neuvid.load_model(checkpoint).network.config == config
    metadata = {"format": FORMAT, "name": "own", "family": "own", "config": "{}"}
    save_file(read_weights(checkpoint), folder / "own.safetensors", metadata)
    with pytest.raises(UnreadableInput, match="unknown family"):
        neuvid.load_model("own.safetensors")


def test_a_desync_is_found(model: LoadedModel) -> None:
    """By the code in CONTRIBUTING.md: the first layer that returns something else in a decoder."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"^    ```python\n(.*?)^    ```", page, re.M | re.S)
    names: dict[str, Any] = {}
    exec(re.sub("^    ", "", code, flags=re.M), names)
    info = moving_info()
    frame = frame_to_tensor(next(moving_frames(info, 1)), info.pixel_format)
    choice, state = FrameChoice(FrameKind.INTRA), model.network.initial_state(48, 64)
    assert names["first_difference"](model, frame, state, choice) is None

    def differ_when_decoding(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        calls.append(module)
        return output + len(calls) // 2

    calls: list[nn.Module] = []
    head: nn.Module = model.network.intra.get_submodule("head")
    handle = head.register_forward_hook(differ_when_decoding)
    found = names["first_difference"](model, frame, state, choice)
    handle.remove()
    assert found == ("intra.head", 0)


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("nowhere.py:RECIPE", "nowhere.py"),
        (f"{EXAMPLES / 'own_network.py'}:RECIPES", "allowed is FM_SMALL_VIDEO_RECIPE, RECIPE"),
        ("json.py:RECIPE", "known already"),
        ("unknown", "FILE.py:NAME"),
    ],
)
def test_recipes_that_are_not_there_are_named(
    recipe: str, reason: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "json.py").write_text("RECIPE = None")
    assert main(["train", recipe, "--data", "x", "--out", "y"]) == 2
    assert reason in capsys.readouterr().err
    assert sys.modules["json"].__file__ != str(folder / "json.py")
