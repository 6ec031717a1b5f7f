"""The published DCVC-RT networks against the authors' own outputs, on synthetic weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from reference import (
    GOLDEN,
    Encode,
    Replay,
    agree,
    check_scales,
    frames,
    inputs_of,
    needs_reference,
    recipe,
    state_dict,
    symbols,
)
from torch import Tensor
from torch.nn import functional

from neuvid.choice import FrameChoice, FrameKind
from neuvid.entropy.distributions import SCALE_MIN
from neuvid.models.published import published_model
from neuvid.models.rt import ImplicitModel, ImplicitState

__all__ = ["frames", "recipe"]  # fixtures

pytestmark = needs_reference


@pytest.fixture(scope="module")
def model(recipe: Any) -> ImplicitModel:
    networks = ("rt_image", "rt_video")
    name, model = published_model((net, state_dict(net, recipe)) for net in networks)
    assert name == "rt" and isinstance(model, ImplicitModel)
    return model.eval()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("quality", [21, 60])
def test_intra_frame(model: ImplicitModel, frames: list[Tensor], quality: int) -> None:
    golden = np.load(GOLDEN / f"rt_image_qp{quality}.npz")
    replay = Replay(symbols(golden, "", 4))
    positions = torch.tensor([float(quality)])
    agree(model.intra.analyse(frames[0], positions), golden["y"])
    with inputs_of(model.intra.decoder) as latents:
        picture = model.intra.code(frames[0], (8, 12), positions, replay)
    agree(latents[0], golden["y_hat"])
    agree(picture.clamp(0, 1), golden["x_hat"])
    check_scales(replay.scales, golden, "", SCALE_MIN)
    assert replay.differing <= 3  # values that lie on a rounding tie


@pytest.mark.parametrize("quality", [21, 60])
def test_inter_frames(model: ImplicitModel, frames: list[Tensor], quality: int) -> None:
    picture = torch.from_numpy(np.load(GOLDEN / f"rt_image_qp{quality}.npz")["x_hat"])[None]
    golden = np.load(GOLDEN / f"rt_video_qp{quality}.npz")
    state = ImplicitState(128, 192, 1, picture=picture)
    for number, level in ((1, 1), (2, 0)):
        prefix = f"f{number}_"
        replay = Replay(symbols(golden, prefix, 2))
        choice = FrameChoice(FrameKind.INTER, float(quality), level)
        with inputs_of(model.up) as latents:
            state = model.code_frame(frames[number], state, choice, replay)
        assert state.feature is not None
        agree(state.feature, golden[f"{prefix}feature"])
        agree(model.render(state).clamp(0, 1), golden[f"{prefix}x_hat"])
        check_scales(replay.scales, golden, prefix, SCALE_MIN)
        agree(latents[0], golden[f"{prefix}y_hat"])
        assert replay.differing <= 3


@pytest.mark.parametrize("quality", [21, 60])
def test_refresh(model: ImplicitModel, frames: list[Tensor], quality: int) -> None:
    golden = np.load(GOLDEN / f"rt_video_qp{quality}.npz")
    picture = torch.from_numpy(golden["f1_x_hat"])[None]
    first = torch.from_numpy(golden["f1_feature"])[None]
    state = ImplicitState(128, 192, 1, feature=first, positions=torch.tensor([quality + 8.0]))
    agree(model.render(state).clamp(0, 1), picture[0].numpy())

    choice = FrameChoice(FrameKind.INTER, float(quality), refresh=True)
    state = model.code_frame(frames[2], state, choice, Encode())
    rendered = model.render(state).clamp(0, 1)[:, :, ::2, ::2]
    agree(rendered, golden["f2reset_x_hat_s2"])


def test_odd_size(model: ImplicitModel, frames: list[Tensor]) -> None:
    golden = np.load(GOLDEN / "rt_odd.npz")
    right, bottom = int(golden["pad"][1]), int(golden["pad"][0])
    cropped = [
        functional.pad(frame[..., 20:92, 30:134], (0, right, 0, bottom), mode="replicate")
        for frame in frames
    ]
    positions = torch.tensor([21.0])
    y = model.intra.analyse(cropped[0], positions)
    agree(y, golden["i_y"])
    picture = torch.from_numpy(golden["i_x_hat"])[None]
    replay = Replay(symbols(golden, "p_", 2))
    state = ImplicitState(80, 112, 1, picture=picture)
    choice = FrameChoice(FrameKind.INTER, 21.0, level=1)
    state = model.code_frame(cropped[1], state, choice, replay)
    assert state.feature is not None
    agree(state.feature, golden["p_feature"])
    agree(model.render(state).clamp(0, 1), golden["p_x_hat"])
    check_scales(replay.scales, golden, "p_", SCALE_MIN)
    assert replay.differing <= 3
