"""The published DCVC-FM networks against the authors' own outputs, on synthetic weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
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
from torch import Tensor, nn
from torch.nn import functional

from neuvid.choice import FrameChoice, FrameKind
from neuvid.entropy.distributions import (
    PROBABILITY_MIN,
    SCALE_MIN,
    Distribution,
    Gaussian,
    Laplace,
    scale_thresholds,
)
from neuvid.entropy.tables import TOTAL, EntropyTables
from neuvid.models.checkpoint import build_tables
from neuvid.models.fm import MotionModel, MotionState
from neuvid.models.published import published_model
from neuvid.priors.conditional import LAPLACE_SCALE_MIN

__all__ = ["frames", "recipe"]  # fixtures

pytestmark = needs_reference

Golden = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def model(recipe: Any) -> MotionModel:
    networks = ("fm_image", "fm_video")
    name, model = published_model((net, state_dict(net, recipe)) for net in networks)
    assert name == "fm" and isinstance(model, MotionModel)
    return model.eval()


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


class Counting(Replay):
    """A replay that counts bits as the authors' estimator does."""

    def __init__(self, symbols: list[NDArray[Any]]) -> None:
        super().__init__(symbols)
        self.bits = 0.0

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        recorded = super().code(values, law)
        probability = torch.exp2(-law.bits(recorded).double()) - PROBABILITY_MIN
        self.bits -= float(torch.log2(probability + 1e-5).clamp(max=0).sum())
        return recorded


@contextmanager
def outputs_of(**modules: nn.Module) -> Iterator[dict[str, Any]]:
    """Collect the last output of each module by name."""
    outputs: dict[str, Any] = {}
    with ExitStack() as stack:
        for name, module in modules.items():

            def keep(_: nn.Module, __: object, output: object, name: str = name) -> None:
                outputs[name] = output

            stack.callback(module.register_forward_hook(keep).remove)
        yield outputs


@contextmanager
def steps_of(model: MotionModel) -> Iterator[dict[str, Any]]:
    """Collect what an inter frame goes through, by the names in the reference files."""
    with outputs_of(
        est_mv=model.estimator,
        mv_y=model.motion_transform.encoder,
        mv_z=model.motion_prior.hyperprior.encoder,
        mv_params=model.motion_prior.fusion,
        mv_feature=model.motion_transform.decoder,
        mv_hat=model.motion_transform.head,
        align=model.contexts.alignment,
        contexts=model.contexts,
        y=model.transform.encoder,
        z=model.prior.hyperprior.encoder,
        params=model.prior.fusion,
    ) as outputs:
        yield outputs


def inter_symbols(golden: Golden, prefix: str) -> list[NDArray[Any]]:
    return symbols(golden, f"{prefix}mv_", 4) + symbols(golden, prefix, 4)


def check_inter(outputs: dict[str, Any], state: MotionState, golden: Golden, prefix: str) -> None:
    for name in ("mv_y", "mv_z", "mv_params", "y", "z", "params"):
        agree(outputs[name], golden[prefix + name])
    for name in ("est_mv", "mv_hat"):
        agree(outputs[name][..., ::2, ::2], golden[prefix + name])
    agree(outputs["mv_feature"][:, ::4], golden[f"{prefix}mv_feature"])
    fine, middle, coarse = outputs["contexts"]
    agree(fine[..., ::4, ::4], golden[f"{prefix}ctx1_s4"])
    agree(middle[..., ::4, ::4], golden[f"{prefix}ctx2_s4"])
    agree(coarse[..., ::2, ::2], golden[f"{prefix}ctx3_s2"])
    agree(outputs["align"][..., ::4, ::4], golden[f"{prefix}align_s4"])
    check_state(state, golden, prefix)


def check_state(state: MotionState, golden: Golden, prefix: str) -> None:
    assert state.picture is not None and state.feature is not None
    assert state.latent is not None and state.motion_latent is not None
    agree(state.motion_latent, golden[f"{prefix}mv_y_hat"])
    agree(state.latent, golden[f"{prefix}y_hat"])
    agree(state.feature[..., ::4, ::4], golden[f"{prefix}feature_s4"])
    agree(state.feature.mean((2, 3)), golden[f"{prefix}feature_mean_ch"])
    agree(state.feature.abs().mean((2, 3)), golden[f"{prefix}feature_abs_ch"])
    agree(state.picture.clamp(0, 1), golden[f"{prefix}x_hat"])


def intra_picture(quality: int) -> Tensor:
    return torch.from_numpy(np.load(GOLDEN / f"fm_image_qp{quality}.npz")["x_hat"])[None]


@pytest.mark.parametrize("quality", [21, 60])
def test_intra_frame(model: MotionModel, frames: list[Tensor], quality: int) -> None:
    golden = np.load(GOLDEN / f"fm_image_qp{quality}.npz")
    replay = Counting(symbols(golden, "", 4))
    prior = model.intra.prior
    with (
        outputs_of(y=model.intra.encoder, z=prior.hyperprior.encoder, params=prior.fusion) as seen,
        inputs_of(model.intra.decoder) as latents,
    ):
        picture = model.intra.code(frames[0], (8, 12), torch.tensor([float(quality)]), replay)
    for name in ("y", "z", "params"):
        agree(seen[name], golden[name])
    agree(latents[0], golden["y_hat"])
    agree(picture.clamp(0, 1), golden["x_hat"])
    check_scales(replay.scales, golden, "", SCALE_MIN)
    assert replay.differing <= 3  # values that lie on a rounding tie
    assert replay.bits == pytest.approx(float(golden["bit_est"]), rel=1e-3)


@pytest.mark.parametrize("quality", [21, 60])
def test_inter_frames(model: MotionModel, frames: list[Tensor], quality: int) -> None:
    state = MotionState(128, 192, 1, picture=intra_picture(quality))
    for number in (1, 2):
        golden = np.load(GOLDEN / f"fm_video_qp{quality}_f{number}.npz")
        prefix = f"f{number}_"
        replay = Counting(inter_symbols(golden, prefix))
        choice = FrameChoice(FrameKind.INTER, float(quality), level=0)
        with steps_of(model) as outputs:
            state = model.code_frame(frames[number], state, choice, replay)
        check_inter(outputs, state, golden, prefix)
        check_scales(replay.scales[:4], golden, f"{prefix}mv_", LAPLACE_SCALE_MIN)
        check_scales(replay.scales[4:], golden, prefix, LAPLACE_SCALE_MIN)
        assert replay.differing <= 3
        assert replay.bits == pytest.approx(float(golden[f"{prefix}bit_est"]), rel=1e-3)


@pytest.fixture(scope="module")
def after_first(model: MotionModel, frames: list[Tensor]) -> MotionState:
    """Return the state after an inter frame, whose level is of no account: nothing is carried."""
    golden = np.load(GOLDEN / "fm_video_qp21_f1.npz")
    state = MotionState(128, 192, 1, picture=intra_picture(21))
    choice = FrameChoice(FrameKind.INTER, 21.0, level=1)
    with torch.no_grad():
        state = model.code_frame(frames[1], state, choice, Replay(inter_symbols(golden, "f1_")))
    check_state(state, golden, "f1_")
    return state


@pytest.mark.parametrize(
    ("prefix", "choice"),
    [
        ("f2fa1_", FrameChoice(FrameKind.INTER, 21.0, level=1)),
        ("f2fa2_", FrameChoice(FrameKind.INTER, 21.0, level=2)),
        ("f2refresh_", FrameChoice(FrameKind.INTER, 21.0, refresh=True)),
    ],
)
def test_adaptors_and_refresh(
    model: MotionModel,
    frames: list[Tensor],
    after_first: MotionState,
    prefix: str,
    choice: FrameChoice,
) -> None:
    golden = np.load(GOLDEN / "fm_video_qp21_f2.npz")
    state = model.code_frame(frames[2], after_first, choice, Encode())
    agree(model.render(state).clamp(0, 1)[..., ::4, ::4], golden[f"{prefix}x_hat_s4"])


def test_odd_size(model: MotionModel, frames: list[Tensor]) -> None:
    golden = np.load(GOLDEN / "fm_odd.npz")
    cropped = [
        functional.pad(frame[..., 20:92, 30:134], (0, 8, 0, 8), mode="replicate")
        for frame in frames
    ]
    choice = FrameChoice(FrameKind.INTRA, 21.0)
    state = model.code_frame(cropped[0], model.initial_state(80, 112), choice, Encode())
    agree(model.render(state).clamp(0, 1), golden["i_x_hat"])
    state = MotionState(80, 112, 1, picture=torch.from_numpy(golden["i_x_hat"])[None])
    replay = Replay(inter_symbols(golden, "p_"))
    with steps_of(model) as outputs:
        choice = FrameChoice(FrameKind.INTER, 21.0)
        state = model.code_frame(cropped[1], state, choice, replay)
    check_inter(outputs, state, golden, "p_")
    check_scales(replay.scales[:4], golden, "p_mv_", LAPLACE_SCALE_MIN)
    check_scales(replay.scales[4:], golden, "p_", LAPLACE_SCALE_MIN)
    assert replay.differing <= 3


@pytest.fixture(scope="module")
def tables(model: MotionModel) -> EntropyTables:
    return build_tables(model)


def excess_bits(tables: EntropyTables, row: int, golden: Golden, name: str, index: int) -> float:
    """Return what our row costs more per symbol, on average, where the authors' row is true."""
    start, end = tables.starts[row : row + 2]
    ours = np.diff(tables.cumulative[start:end] / TOTAL)
    bounds = golden[f"{name}_cdf"][index][: golden[f"{name}_len"][index]] / 65536
    theirs = np.diff(bounds)[:-1]
    first = int(golden[f"{name}_off"][index]) - int(tables.offsets[row])
    places = np.arange(len(theirs)) + first
    covered = (places >= 0) & (places < len(ours) - 1)
    matching = np.where(covered, ours[np.clip(places, 0, len(ours) - 1)], ours[-1])
    return float((theirs * np.log2(theirs / matching)).sum())


@pytest.mark.parametrize(("law", "name"), [(Gaussian, "gauss"), (Laplace, "laplace")])
def test_tables_of_laws(tables: EntropyTables, law: type[Gaussian | Laplace], name: str) -> None:
    golden = np.load(GOLDEN / "fm_tables.npz")
    scales = torch.from_numpy(golden[f"{name}_scale_table"])[None, None, None]
    rows = law(scales, skips=False).rows(torch.from_numpy(scale_thresholds())).flatten().tolist()
    lengths = golden[f"{name}_len"]
    for index in np.flatnonzero(lengths < lengths.max()).tolist():  # their widest rows are cut off
        assert abs(excess_bits(tables, rows[index], golden, name, index)) < 0.002


def test_tables_of_side_information(model: MotionModel, tables: EntropyTables) -> None:
    golden = np.load(GOLDEN / "fm_tables.npz")
    intra, frame, motion = (
        network.hyperprior.prior for network in (model.intra.prior, model.prior, model.motion_prior)
    )
    for channel in range(0, 64, 9):
        for quality in (21, 60):
            row = intra.first_row + quality * intra.channels + channel
            assert abs(excess_bits(tables, row, golden, f"zi{quality}", channel)) < 0.003
        assert abs(excess_bits(tables, frame.first_row + channel, golden, "z", channel)) < 0.003
        assert abs(excess_bits(tables, motion.first_row + channel, golden, "zmv", channel)) < 0.003
