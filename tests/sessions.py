"""Encoding and decoding sessions over whole clips."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import torch

from neuvid.bitstream.packet import Packet, StreamHeader
from neuvid.codec.decoder import Decoder
from neuvid.codec.encoder import Encoder
from neuvid.codec.headers import header_of
from neuvid.codec.schedule import Schedule
from neuvid.codec.statistics import packet_bytes
from neuvid.models.checkpoint import LoadedModel
from neuvid.rate.controller import FixedQuality, RateController
from neuvid.video.colour import tensor_to_frame
from neuvid.video.frame import ClipInfo, Frame

QUALITY = FixedQuality(32)


def encode(
    model: LoadedModel,
    info: ClipInfo,
    frames: Iterable[Frame],
    control: RateController = QUALITY,
    schedule: Schedule = Schedule(),  # noqa: B008
) -> tuple[list[Packet], list[Frame]]:
    """Return the packets and the pictures that the encoder expects its decoder to show."""
    packets, pictures = [], []
    with Encoder(model, info, control=control, schedule=schedule) as encoder:
        for frame in frames:
            packets += encoder.encode(frame)
            with torch.inference_mode():
                picture = model.network.render(encoder.state)
            pictures.append(tensor_to_frame(picture, info.size, info.pixel_format, frame.pts))
        packets += encoder.flush()
    return packets, pictures


def packet_sizes(packets: Sequence[Packet], header: StreamHeader) -> list[int]:
    """Return the bytes of the packets of a stream on time."""
    befores = [None, *(packet.choice for packet in packets)]
    return [packet_bytes(each, header, before) for each, before in zip(packets, befores)]  # noqa: B905


def decode(model: LoadedModel, info: ClipInfo, packets: Iterable[Packet]) -> list[Frame]:
    """Return the frames that a decoder shows."""
    with Decoder(model, header_of(model, info)) as decoder:
        ready = [decoder.decode(packet) for packet in packets]
        return list(chain(*ready, decoder.flush()))
