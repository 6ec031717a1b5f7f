"""The published DCVC-RT networks against the authors' own outputs, on synthetic weights."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from neuvid.choice import FrameChoice, FrameKind
from neuvid.entropy.distributions import SCALE_MIN, Distribution, Gaussian
from neuvid.models.implicit import ImplicitModel, ImplicitState
from neuvid.models.published import rt_model, translate_image, translate_video

SHARED = Path(__file__).parents[3] / "shared"
GOLDEN = SHARED / "golden"
TOLERANCE = 1e-4

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the reference outputs are not here")


class Replay:
    """A coder that returns recorded symbols and remembers what it was asked to code."""

    def __init__(self, symbols: list[NDArray[Any]]) -> None:
        self.symbols = iter(symbols)
        self.scales: list[Tensor] = []
        self.differing = 0

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        recorded = torch.from_numpy(next(self.symbols)).float()[None]
        if isinstance(law, Gaussian):
            self.scales.append(law.scales)
        if values is not None:
            self.differing += int((law.round(values) != recorded).sum())
        return recorded


def state_dict(net: str, recipe: Any) -> dict[str, Tensor]:
    weights = {}
    table = SHARED / "spec" / f"state_dict_dcvc_{net}.tsv"
    with table.open() as rows:
        for row in csv.DictReader(rows, delimiter="\t"):
            shape = tuple(int(side) for side in row["shape"].split("x"))
            weights[row["key"]] = torch.from_numpy(recipe.tensor(net, row["key"], shape))
    return weights


@pytest.fixture(scope="module")
def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("recipe", GOLDEN / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(recipe: Any) -> ImplicitModel:
    image = translate_image(state_dict("rt_image", recipe))
    video = translate_video(state_dict("rt_video", recipe))
    return rt_model(image, video).eval()


@pytest.fixture(scope="module")
def frames(recipe: Any) -> list[Tensor]:
    luma, chroma = recipe.clip()
    return [torch.from_numpy(recipe.to_444(y, uv)) for y, uv in zip(luma, chroma, strict=True)]


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def agree(ours: Tensor, reference: NDArray[Any]) -> None:
    expected = torch.from_numpy(reference).float()
    error = (ours.squeeze(0) - expected).abs().max() / expected.abs().max()
    assert error < TOLERANCE


def symbols(golden: Mapping[str, NDArray[Any]], prefix: str, steps: int) -> list[NDArray[Any]]:
    return [golden[f"{prefix}z_hat"], *(golden[f"{prefix}yq{step}"] for step in range(steps))]


def check_scales(replay: Replay, golden: Mapping[str, NDArray[Any]], prefix: str) -> None:
    for step, scales in enumerate(replay.scales):
        agree(scales, np.maximum(golden[f"{prefix}s{step}"], SCALE_MIN))


@contextmanager
def latent_of(decoder: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what the synthesis receives: with the symbols given, it proves the means."""
    latents: list[Tensor] = []
    hook = decoder.register_forward_pre_hook(lambda _, inputs: latents.append(inputs[0]))
    yield latents
    hook.remove()


@pytest.mark.parametrize("quality", [21, 60])
def test_intra_frame(model: ImplicitModel, frames: list[Tensor], quality: int) -> None:
    golden = np.load(GOLDEN / f"rt_image_qp{quality}.npz")
    replay = Replay(symbols(golden, "", 4))
    positions = torch.tensor([float(quality)])
    agree(model.intra.analyse(frames[0], positions), golden["y"])
    with latent_of(model.intra.decoder) as latents:
        picture = model.intra.code(frames[0], (8, 12), positions, replay)
    agree(latents[0], golden["y_hat"])
    agree(picture.clamp(0, 1), golden["x_hat"])
    check_scales(replay, golden, "")
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
        with latent_of(model.up) as latents:
            state = model.code_frame(frames[number], state, choice, replay)
        assert state.feature is not None
        agree(state.feature, golden[f"{prefix}feature"])
        agree(model.render(state).clamp(0, 1), golden[f"{prefix}x_hat"])
        check_scales(replay, golden, prefix)
        agree(latents[0], golden[f"{prefix}y_hat"])
        assert replay.differing <= 3


@pytest.mark.parametrize("quality", [21, 60])
def test_refresh(model: ImplicitModel, frames: list[Tensor], quality: int) -> None:
    golden = np.load(GOLDEN / f"rt_video_qp{quality}.npz")
    picture = torch.from_numpy(golden["f1_x_hat"])[None]
    first = torch.from_numpy(golden["f1_feature"])[None]
    state = ImplicitState(128, 192, 1, feature=first, positions=torch.tensor([quality + 8.0]))
    agree(model.render(state).clamp(0, 1), picture[0].numpy())

    class Encode(Replay):
        def code(self, values: Tensor | None, law: Distribution) -> Tensor:
            assert values is not None
            return law.round(values)

    choice = FrameChoice(FrameKind.INTER, float(quality), refresh=True)
    state = model.code_frame(frames[2], state, choice, Encode([]))
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
    check_scales(replay, golden, "p_")
    assert replay.differing <= 3
