"""Published checkpoints become one of neuvid that codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from clips import moving_frames, moving_info
from reference import needs_reference, recipe, state_dict

from neuvid.cli.main import main
from neuvid.codec.clips import encode_clip
from neuvid.codec.streams import decode_stream
from neuvid.models.checkpoint import load_model, read_weights
from neuvid.models.presets import PRESETS
from neuvid.models.published import read_published
from neuvid.rate.controller import FixedQuality
from neuvid.video.clip import create_clip, open_clip

__all__ = ["recipe"]  # a fixture

pytestmark = needs_reference


@pytest.mark.parametrize("name", ["rt", "fm"])
def test_imported_checkpoints_code(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    image, video = tmp_path / "image.pth.tar", tmp_path / "video.pth.tar"
    torch.save(state_dict(f"{name}_image", recipe), image)
    torch.save({"state_dict": state_dict(f"{name}_video", recipe)}, video)
    target = tmp_path / "imported.safetensors"
    assert main(["import", str(video), str(image), "-o", str(target)]) == 0
    model = load_model(target)
    assert model.name == name and model.network.config == PRESETS[name]
    assert model.digest.hex() in capsys.readouterr().out
    preset, network = read_published([image, video])
    published = network.state_dict()
    kept = read_weights(target)
    assert preset == name and kept.keys() == published.keys()
    assert all(torch.equal(kept[key], published[key]) for key in kept)

    info = moving_info((32, 16))
    with create_clip(tmp_path / "in.y4m", info) as writer:
        for frame in moving_frames(info, 2):
            writer.write(frame)
    with open_clip(tmp_path / "in.y4m") as clip:
        encode_clip(clip, tmp_path / "x.nvid", model=model, control=FixedQuality(32))
    report = decode_stream(tmp_path / "x.nvid", tmp_path / "out.y4m", model=model)
    assert report.written_frames == 2
