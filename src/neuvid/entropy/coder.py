"""Three coders for one walk: estimate bits, write them, read them."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuvid import _rans
from neuvid.entropy.distributions import SKIP, Distribution
from neuvid.entropy.noise import code_with_noise
from neuvid.entropy.tables import EntropyTables

# Symbols of a frame from which one stream of several lanes pays, and four streams.
LANES_PAY, STREAMS_PAY = 1 << 14, 1 << 17


class LatentCoder(Protocol):
    """What a walk needs of a coder."""

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        """Return `values` [B, C, h, w] as the decoder will see them; None when reading."""


class RateEstimator:
    """Counts differentiable bits; for training (`noise`) and for trials.

    With `noise`, gradients reach the values as well (`entropy/noise.py`).
    """

    def __init__(self, *, noise: bool) -> None:
        self.noise = noise
        self.bits: list[Tensor] = []  # one tensor [B] for each latent coded

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        """Return the rounded values and count their bits."""
        if values is None:
            raise TypeError("a rate estimator cannot read")
        if self.noise:
            rounded, bits = code_with_noise(values, law)
        else:
            rounded = law.coded(law.quantise(values))
            bits = law.bits(rounded).flatten(1).sum(1)
        self.bits.append(bits)
        return rounded

    def total(self) -> Tensor:
        """Return the bits [B] of all latents coded so far."""
        return torch.stack(self.bits).sum(0)


class CoderTables:
    """The integer tables of a checkpoint, ready for coding on a device."""

    def __init__(self, tables: EntropyTables, thresholds: Tensor) -> None:
        self.native = _rans.Tables(tables.cumulative, tables.starts, tables.offsets)
        self.thresholds = thresholds  # [levels] of the scales

    def indexes(self, law: Distribution) -> NDArray[np.uint16]:
        """Return the row for each value of a latent, flat in the order of channel, row, column."""
        rows = law.rows(self.thresholds).flatten().cpu().numpy()
        indexes: NDArray[np.uint16] = rows.astype(np.uint16)
        return indexes


class SymbolWriter:
    """Collects the symbols of one frame; `finish` turns them into bytes."""

    def __init__(self, tables: CoderTables) -> None:
        self.tables = tables
        self.encoder = _rans.SymbolEncoder(tables.native)
        self.coded = 0  # symbols that cost something

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        """Return the rounded values and remember them."""
        if values is None:
            raise TypeError("a symbol writer cannot read")
        rounded = law.coded(law.quantise(values))
        symbols = rounded.flatten().cpu().numpy().astype(np.int16)
        indexes = self.tables.indexes(law)
        self.encoder.append(symbols, indexes)
        self.coded += int(np.count_nonzero(indexes != SKIP))
        return rounded

    @property
    def streams(self) -> int:
        """Streams of the payload; 0 stands for the compact form."""
        return 4 if self.coded >= STREAMS_PAY else int(self.coded >= LANES_PAY)

    def finish(self) -> bytes:
        """Return the payload; may run on another thread than `code`."""
        return self.encoder.finish(self.streams)


class SymbolReader:
    """Reads the symbols of one frame from its payload."""

    def __init__(self, tables: CoderTables, payload: bytes, *, parallel: bool) -> None:
        self.tables = tables
        self.decoder = _rans.SymbolDecoder(tables.native, payload, not parallel)

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        """Return the values read, whatever `values` is."""
        symbols = self.decoder.decode(self.tables.indexes(law))
        read = torch.from_numpy(symbols.astype(np.float32)).view(law.shape)
        device = self.tables.thresholds.device
        return read.to(device).contiguous(memory_format=torch.channels_last)

    def finish(self) -> None:
        """Raise Desynchronised unless the payload ends exactly here."""
        self.decoder.finish()
