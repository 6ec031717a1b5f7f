"""Laws of the families with routes: each is a codec, and the route may change at every frame."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from clips import assert_same, moving_frames, moving_info
from conftest import FAMILIES, save_untrained
from sessions import decode, encode
from torch import Tensor, nn

from neuvid.choice import FrameChoice, FrameKind
from neuvid.codec.encoder import Encoder
from neuvid.codec.schedule import Schedule
from neuvid.entropy.coder import RateEstimator
from neuvid.errors import InvalidSetting
from neuvid.models.base import State
from neuvid.models.checkpoint import Arithmetic, LoadedModel, load_model, save_model
from neuvid.models.complexity import measure_complexity
from neuvid.models.dynamic import DynamicConfig, DynamicModel
from neuvid.models.dynamic_small import DynamicHybridModel, GroupwisePrior
from neuvid.models.fm_small import HybridModel
from neuvid.models.picture import PictureConfig
from neuvid.models.presets import DYNAMIC, DYNAMIC_SMALL, build_model
from neuvid.nn.integer import make_exact
from neuvid.nn.slimmable import Slimmable
from neuvid.priors.channelwise import ChannelwisePrior
from neuvid.rate.controller import FixedQuality, FrameStats, FrameView
from neuvid.training.inheritance import beginning
from neuvid.training.initialisation import initialise
from neuvid.video.colour import frame_to_tensor

TINY_FLOW = DynamicConfig(
    intra=PictureConfig(
        trunk_channels=(8, 8, 16), latent_channels=16, hyper_channels=4, refine_channels=4
    ),
    feature_channels=(12, 12, 16),
    full_channels=(4, 6, 8, 8),
    half_channels=(4, 8, 12, 12),
    quarter_channels=(8, 12, 12, 16),
    latent_channels=(4, 8, 12, 16),
    motion_channels=8,
    hyper_channels=4,
    temporal_channels=8,
    prior_channels=8,
)
CHANGING = (0, 3, 1, 2, 0, 2, 3, 0)
CONSTANT = [(route,) for route in range(4)]
INFO = moving_info((80, 48))
FRAMES = list(moving_frames(INFO, 6))
SCHEDULE = Schedule(scene_cuts=False, refresh_period=3)


def save_flow_model(path: Path) -> Path:
    """Write a checkpoint of random weights whose latents are not all 0."""
    torch.manual_seed(5)
    network = DynamicModel(TINY_FLOW)
    weights = network.state_dict()
    for layer in (
        "intra.encoder.4",
        "estimator.levels.3.8",
        "motion_transform.encoder.2",
        "encoder.widest.encoder.2",
    ):
        weights[f"{layer}.weight"].mul_(20.0)
    for module in ("motion_transform.encoder_scale", "encoder.widest.scale"):
        weights[f"{module}.logarithms"].copy_(torch.tensor([0.0, 2.0]))
    save_model(path, "tiny", network, {})
    return path


@pytest.fixture(scope="module", params=["flow", "hybrid"])
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a tiny model of the paper's kind, or of the small kind."""
    path = tmp_path_factory.mktemp("dynamic") / "tiny.safetensors"
    if request.param == "flow":
        return save_flow_model(path)
    return save_untrained(path, FAMILIES["dynamic"], seed=1)


@pytest.fixture(scope="module")
def model(weights: Path) -> LoadedModel:
    return load_model(weights)


class Routing:
    """Chooses routes in turn, again and again."""

    def __init__(self, routes: Sequence[int], quality: float = 40.0) -> None:
        self.routes = routes
        self.quality = quality

    def choose(self, view: FrameView) -> FrameChoice:
        return view.plan.choice(self.quality, self.routes[view.number % len(self.routes)])

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        """Learn nothing."""


def tensors(state: State) -> list[Tensor]:
    values = (getattr(state, field.name) for field in fields(state))
    return [value for value in values if isinstance(value, Tensor)]


@torch.inference_mode()
def walk(model: LoadedModel, routes: Sequence[int]) -> tuple[State, list[float]]:
    """Return the state after frames on the routes in turn, and the bits of each frame."""
    state, bits = model.network.initial_state(48, 80), []
    schedule = Schedule()
    for number, route in enumerate(routes):
        estimator = RateEstimator(noise=False)
        choice = schedule.plan(number, 0, 0).choice(40.0, route)
        frame = frame_to_tensor(FRAMES[number], INFO.pixel_format)
        state = model.network.code_frame(frame, state, choice, estimator)
        bits.append(float(estimator.total()))
    return state, bits


def test_the_small_preset_saves_work_on_narrow_routes() -> None:
    complexity = measure_complexity(DYNAMIC_SMALL)
    macs = [sum(route.values()) for route in complexity.inter]
    assert 0 < sum(complexity.agent.values()) < 0.006 * macs[0]
    assert macs == sorted(macs) and macs[-1] < 30 and macs[0] <= 0.75 * macs[-1]


def test_the_preset_is_as_large_as_the_paper_says() -> None:
    complexity = measure_complexity(DYNAMIC)
    assert 4e-6 * complexity.video_parameters == pytest.approx(61.02, rel=0.1)
    macs = [sum(route.values()) * 1920 * 1080 / 1e9 for route in complexity.inter]
    assert macs == pytest.approx([2.1, 2.3, 2.5, 2.8], rel=0.1)
    assert macs[0] <= 0.75 * macs[-1]
    assert 4e-6 * complexity.agent_parameters == pytest.approx(25.84, rel=0.1)
    agent = sum(complexity.agent.values()) * 1920 * 1080 / 1e6
    assert agent == pytest.approx(11.73, rel=0.1)


@pytest.mark.parametrize("routes", [*CONSTANT, CHANGING], ids=str)
@pytest.mark.parametrize("size", [(64, 48), (17, 33)], ids=str)
def test_decoder_shows_what_the_encoder_expects(
    model: LoadedModel, routes: Sequence[int], size: tuple[int, int]
) -> None:
    info = moving_info(size)
    control = Routing(routes)
    packets, expected = encode(model, info, moving_frames(info, 6), control, SCHEDULE)
    assert [p.choice.route for p in packets[1:]] == [routes[n % len(routes)] for n in range(1, 6)]
    assert_same(decode(model, info, packets), expected)


@pytest.mark.parametrize(
    ("quality", "route"), [(0, 0), (10, 0), (10.25, 1), (30, 1), (30.25, 3), (63, 3)]
)
def test_a_quality_takes_the_narrowest_route_that_is_meant_for_it(
    weights: Path, quality: float, route: int
) -> None:
    model = load_model(weights)
    model.network.get_buffer("ladder").copy_(torch.tensor([10.0, 30.0, 30.0, 63.0]))
    with Encoder(model, INFO, control=FixedQuality(quality), schedule=Schedule()) as encoder:
        packets = [packet for frame in FRAMES[:2] for packet in encoder.encode(frame)]
        packets += encoder.flush()
    assert [packet.choice.route for packet in packets] == [0, route]


def test_features_have_full_width_on_every_route(model: LoadedModel) -> None:
    shapes = [
        [tensor.shape for tensor in tensors(walk(model, (route,) * 3)[0])] for route in range(4)
    ]
    assert shapes.count(shapes[0]) == len(shapes)


def change_wider_routes(network: nn.Module, route: int) -> None:
    """Change all weights that only routes wider than this one have."""
    for module in network.modules():
        if isinstance(module, Slimmable):
            weights = list(module.widest.parameters())
            total = torch.stack([part.sum() for part in module.weights(route).values()]).sum()
            for weight, used in zip(weights, torch.autograd.grad(total, weights), strict=True):
                weight.data += 1 - used
        elif isinstance(module, ChannelwisePrior):
            for wider in (*module.predictors[route + 1 :], *module.modulations[route:]):
                for weight in wider.parameters():
                    weight.data += 1
            change_wider_steps(module, route)
        elif isinstance(module, GroupwisePrior):
            for weight in module.groups[route + 1 :].parameters():
                weight.data += 1
            change_wider_steps(module, route)
        elif isinstance(module, DynamicHybridModel):
            module.route_bank.vectors.data[route + 1 :] += 1


def change_wider_steps(prior: ChannelwisePrior | GroupwisePrior, route: int) -> None:
    for bank in (prior.encoder_steps, prior.decoder_steps):
        bank.vectors.data[:, prior.channels[route] :] += 1


@pytest.mark.parametrize("route", range(3))
def test_a_route_never_depends_on_weights_of_wider_ones(weights: Path, route: int) -> None:
    model = load_model(weights, arithmetic=Arithmetic.FLOAT32)
    is_exact = isinstance(model.network, DynamicHybridModel)
    changed = copy.deepcopy(model.network).requires_grad_(True)
    change_wider_routes(changed, route)
    other = replace(model, network=changed)
    if is_exact:
        for each in (model, other):
            make_exact(each.network.requires_grad_(False))
    (state, bits), (twin, other_bits) = (
        walk(each, (0, route, 0, route)) for each in (model, other)
    )
    pairs = list(zip(tensors(state), tensors(twin), strict=True))
    if is_exact:
        assert bits == other_bits
        assert all(torch.equal(*pair) for pair in pairs)
    else:  # sums of floats depend on where in memory they lie
        assert bits == pytest.approx(other_bits, rel=1e-2)
        assert all((one - two).norm() < 1e-2 * one.norm() for one, two in pairs)
    assert walk(model, (0, 3))[1] != pytest.approx(walk(other, (0, 3))[1], rel=1e-2)


@torch.inference_mode()
def test_routes_may_begin_as_the_model_without_routes() -> None:
    torch.manual_seed(3)
    hybrid, dynamic = (build_model(FAMILIES[name]) for name in ("hybrid", "dynamic"))
    initialise(hybrid)
    initialise(dynamic)
    assert isinstance(hybrid, HybridModel) and isinstance(dynamic, DynamicHybridModel)
    nn.init.normal_(hybrid.prior.encoder_steps.vectors)
    dynamic.load_state_dict(beginning(dynamic, hybrid.state_dict()))
    patches, context = torch.randn(1, 192, 4, 6), torch.randn(1, 96, 4, 6)
    changes, decoded = [], []
    for model in (hybrid, dynamic):
        y = model.analysis(patches) / model.prior.encoder_steps(torch.tensor([1.5]))
        changes.append(model.synthesis(y))
        merged = torch.cat((context, y), 1)
        decoded.append(model.decoder(3, merged) if model is dynamic else model.decoder(merged))
    torch.testing.assert_close(*changes)
    torch.testing.assert_close(*decoded)
    for name in ("motion", "context", "recon"):
        parts = (model.get_submodule(name).state_dict().values() for model in (hybrid, dynamic))
        assert all(map(torch.equal, *parts))
    own = dynamic.state_dict()
    assert beginning(dynamic, own) is own


class Foreseeing(Routing):
    """Asks what each route would cost at two qualities before each inter frame."""

    def __init__(self) -> None:
        super().__init__(CHANGING)
        self.foreseen: list[float] = []

    def choose(self, view: FrameView) -> FrameChoice:
        if view.plan.kind is FrameKind.INTER:
            foreseen = view.foresee()
            choices = [view.plan.choice(q, route) for q in (10.25, 60.0) for route in range(4)]
            self.foreseen += map(foreseen, choices)
        return super().choose(view)


@pytest.mark.parametrize("size", [(1, 1), (80, 48)], ids=str)
def test_foreseeing_leaves_no_trace(model: LoadedModel, size: tuple[int, int]) -> None:
    info, foreseeing = moving_info(size), Foreseeing()
    frames = list(moving_frames(info, 4))
    packets, _ = encode(model, info, frames, foreseeing, SCHEDULE)
    assert packets == encode(model, info, frames, Routing(CHANGING), SCHEDULE)[0]
    assert len(foreseeing.foreseen) == 3 * 8
    assert all(0 < bits < float("inf") for bits in foreseeing.foreseen)


def test_models_without_an_agent_foresee_nothing(tmp_path: Path) -> None:
    model = load_model(save_untrained(tmp_path / "x.safetensors", FAMILIES["hybrid"], seed=1))
    with pytest.raises(InvalidSetting, match="rate control agent"):
        encode(model, INFO, FRAMES[:2], Foreseeing(), SCHEDULE)
