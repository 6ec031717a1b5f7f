"""Laws of the rate control agent, on the true costs of a tiny model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from clips import moving_frames, moving_info
from conftest import FAMILIES, save_untrained
from sessions import packet_sizes

from neuvid.bitstream.packet import Packet
from neuvid.choice import FrameChoice, quality_of
from neuvid.codec.encoder import Encoder
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import Schedule
from neuvid.models.checkpoint import LoadedModel, load_model
from neuvid.rate.agent import RateControlAgent, fitting_route
from neuvid.rate.budget import Bitrate
from neuvid.rate.controller import FixedQuality, FrameStats, FrameView, RateController

INFO = moving_info((80, 48))
FRAMES = list(moving_frames(INFO, 20))
FRAME_RATE = float(INFO.frame_rate)
LADDER = (15.0, 30.0, 45.0, 63.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return a tiny model with routes that are meant for different qualities."""
    path = tmp_path_factory.mktemp("agent") / "tiny.safetensors"
    model = load_model(save_untrained(path, FAMILIES["dynamic"], seed=1))
    model.network.get_buffer("ladder").copy_(torch.tensor(LADDER))
    return model


class Foreseeing:
    """Lets another controller foresee true costs, times an error."""

    def __init__(self, control: RateController, error: float = 1.0) -> None:
        self.control = control
        self.error = error

    def choose(self, view: FrameView) -> FrameChoice:
        def foresee() -> Callable[[FrameChoice], float]:
            return lambda choice: self.error * view.trial(choice).bits

        return self.control.choose(replace(view, foresee=foresee))

    def observe(self, choice: FrameChoice, stats: FrameStats) -> None:
        self.control.observe(choice, stats)


def encode(model: LoadedModel, control: RateController, count: int = 20) -> list[Packet]:
    with Encoder(model, INFO, control=control, schedule=Schedule(scene_cuts=False)) as encoder:
        packets = [packet for frame in FRAMES[:count] for packet in encoder.encode(frame)]
        return packets + encoder.flush()


def later_rate(model: LoadedModel, packets: list[Packet]) -> float:
    """Return the bits per second of all but the first half of the frames."""
    sizes = packet_sizes(packets, header_of(model, INFO))[len(packets) // 2 :]
    return 8 * sum(sizes) / len(sizes) * FRAME_RATE


@pytest.mark.parametrize(("quality", "error"), [(30, 1.0), (50, 1.6)])
def test_the_agent_holds_what_a_quality_takes(
    model: LoadedModel, quality: float, error: float
) -> None:
    target = later_rate(model, encode(model, FixedQuality(quality)))
    agent = RateControlAgent(Bitrate(target), frame_rate=FRAME_RATE)
    packets = encode(model, Foreseeing(agent, error))
    assert later_rate(model, packets) == pytest.approx(target, rel=0.1)
    for packet in packets[1:]:
        assert quality_of(packet.choice) <= LADDER[packet.choice.route]


def test_more_bits_take_wider_routes(model: LoadedModel) -> None:
    routes = []
    for rate in (3e3, 1e9):
        agent = RateControlAgent(Bitrate(rate), frame_rate=FRAME_RATE)
        packets = encode(model, Foreseeing(agent), count=6)
        routes.append({packet.choice.route for packet in packets[1:]})
    assert routes == [{0}, {3}]


def test_an_untrained_agent_gives_streams_too(model: LoadedModel) -> None:
    packets = encode(model, RateControlAgent(Bitrate(1e5), frame_rate=FRAME_RATE))
    assert len(packets) == len(FRAMES)


@pytest.mark.parametrize(
    ("allocated", "spare", "route"),
    [(5, True, 0), (15, True, 1), (45, True, 3), (15, False, 0), (45, False, 3), (5, False, 0)],
)
def test_routes_next_to_an_allocation(allocated: float, spare: bool, route: int) -> None:
    assert fitting_route([10, 20, 30, 40], allocated, spare=spare) == route
