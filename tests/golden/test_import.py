"""Published checkpoints become one of neuvid that codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from clips import moving_frames, moving_info
from test_rt import GOLDEN, recipe, state_dict

from neuvid.cli.main import main
from neuvid.codec.clips import encode_clip
from neuvid.codec.streams import decode_stream
from neuvid.models.checkpoint import load_model, read_weights
from neuvid.models.presets import RT
from neuvid.models.published import read_published
from neuvid.rate.controller import FixedQuality
from neuvid.video.clip import create_clip, open_clip

__all__ = ["recipe"]  # a fixture

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference outputs are not here")


def test_imported_checkpoints_code(
    recipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, video = tmp_path / "image.pth.tar", tmp_path / "video.pth.tar"
    torch.save(state_dict("rt_image", recipe), image)
    torch.save({"state_dict": state_dict("rt_video", recipe)}, video)
    target = tmp_path / "rt.safetensors"
    assert main(["import", str(video), str(image), "-o", str(target)]) == 0
    model = load_model(target)
    assert model.name == "rt" and model.network.config == RT
    assert model.digest.hex() in capsys.readouterr().out
    published = read_published([image, video]).state_dict()
    kept = read_weights(target)
    assert kept.keys() == published.keys()
    assert all(torch.equal(kept[name], published[name]) for name in kept)

    info = moving_info((32, 16))
    with create_clip(tmp_path / "in.y4m", info) as writer:
        for frame in moving_frames(info, 2):
            writer.write(frame)
    with open_clip(tmp_path / "in.y4m") as clip:
        encode_clip(clip, tmp_path / "x.nvid", model=model, control=FixedQuality(32))
    report = decode_stream(tmp_path / "x.nvid", tmp_path / "out.y4m", model=model)
    assert report.written_frames == 2
