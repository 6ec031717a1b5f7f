"""Packets in, frames out."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch

from neuvid.bitstream.packet import Packet, StreamHeader
from neuvid.choice import FrameKind
from neuvid.codec.headers import clip_of
from neuvid.entropy.coder import SymbolReader
from neuvid.errors import CorruptStream, Desynchronised, InvalidSetting, ModelMismatch
from neuvid.models.base import GRID, State
from neuvid.models.checkpoint import LoadedModel
from neuvid.video.colour import tensor_to_frame
from neuvid.video.frame import Frame

FRAMES_IN_WORK = 1  # frames being rendered while the next one is decoded
MAX_PIXELS = 8192 * 4320  # of a frame; a stream's header alone must not claim more memory


class Decoder:
    """Decodes packets in order. Pictures are rendered on a thread of their own.

    A context manager. Raises ModelMismatch when the header names another checkpoint or
    arithmetic than the model's, and InvalidSetting when frames have more than `max_pixels`.
    """

    def __init__(
        self, model: LoadedModel, header: StreamHeader, *, max_pixels: int = MAX_PIXELS
    ) -> None:
        _check_model(model, header)
        if header.width * header.height > max_pixels:
            size = f"{header.width}x{header.height}"
            raise InvalidSetting("frame size", got=size, expected=f"at most {max_pixels} pixels")
        self.model = model
        self.clip = clip_of(header)
        padded = self.clip.size.padded(GRID)
        self.state: State = model.network.initial_state(padded.height, padded.width)
        self._started = False
        self._pending: deque[Future[Frame]] = deque()
        self._worker = ThreadPoolExecutor(1, "renderer")

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the thread."""
        self._worker.shutdown(cancel_futures=True)

    @torch.inference_mode()
    def decode(self, packet: Packet) -> list[Frame]:
        """Decode the next packet and return the frames that are ready: none, one or several.

        Raises CorruptStream for a payload that no encoder wrote and Desynchronised for one that
        does not belong here; the frames before it can still be flushed.
        """
        if packet.choice.kind is not FrameKind.INTRA and not self._started:
            raise Desynchronised("decoding must begin at an intra frame")
        try:
            self.state = self._advance(packet)
        except (CorruptStream, Desynchronised) as error:
            self._started = False
            reason = f"frame {packet.number} does not decode: {error}"
            raise type(error)(reason) from error
        self._started = True
        self._pending.append(self._worker.submit(self._render, self.state, packet.pts))
        return self._ready(FRAMES_IN_WORK)

    def flush(self) -> list[Frame]:
        """Return the frames that are still in work."""
        return self._ready(0)

    def _advance(self, packet: Packet) -> State:
        if packet.choice.level >= self.model.network.levels:
            raise CorruptStream(f"no frame has level {packet.choice.level}")
        reader = SymbolReader(self.model.tables, packet.payload, parallel=packet.parallel)
        state: State = self.model.network.code_frame(None, self.state, packet.choice, reader)
        reader.finish()
        return state

    def _ready(self, in_work: int) -> list[Frame]:
        frames = []
        while self._pending and (len(self._pending) > in_work or self._pending[0].done()):
            frames.append(self._pending.popleft().result())
        return frames

    @torch.inference_mode()
    def _render(self, state: State, pts: int) -> Frame:
        picture = self.model.network.render(state)
        return tensor_to_frame(picture, self.clip.size, self.clip.pixel_format, pts)


def _check_model(model: LoadedModel, header: StreamHeader) -> None:
    if header.checkpoint != model.digest:
        raise ModelMismatch(
            f"the stream was written with another checkpoint of {header.model!r} "
            f"({header.checkpoint.hex()[:8]}; at hand is {model.digest.hex()[:8]})"
        )
    if header.arithmetic != model.arithmetic.value:
        raise ModelMismatch(
            f"the stream needs {header.arithmetic} arithmetic; the model has {model.arithmetic}"
        )
