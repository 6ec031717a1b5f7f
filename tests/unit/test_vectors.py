"""Laws of the coding of block vectors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from neuvid.entropy.coder import CoderTables, RateEstimator, SymbolReader, SymbolWriter
from neuvid.entropy.distributions import Bernoulli, Gaussian, Laplace, scale_thresholds
from neuvid.entropy.tables import TOTAL, EntropyTables
from neuvid.errors import CorruptStream
from neuvid.models.vectors import VectorCoder

WIDTH = 8
SIZES = pytest.mark.parametrize("size", [(2, 2), (6, 10), (8, 16), (18, 24)])


@pytest.fixture(scope="module")
def tables() -> CoderTables:
    parts = [Gaussian.tables(), Laplace.tables(), Bernoulli.tables()]
    thresholds = torch.from_numpy(scale_thresholds())
    return CoderTables(EntropyTables.concatenate(parts), thresholds)


@pytest.fixture
def vector_coder() -> VectorCoder:
    torch.manual_seed(0)
    coder = VectorCoder(WIDTH).eval()
    for parameter in coder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return coder


def field(size: tuple[int, int], *, moving: float) -> Tensor:
    """Return vectors [1, 2, *size] of areas that move, in quarter pixels, and some odd ones."""
    vectors = torch.zeros(1, 2, *size)
    vectors[:, :, size[0] // 2 :, 1:] = torch.tensor([moving, -7.0])[:, None, None]
    odd = torch.rand(1, 1, *size) < 0.2
    return torch.where(odd, (moving * torch.randn(1, 2, *size)).round(), vectors)


def context_of(vectors: Tensor) -> Tensor:
    rows, columns = vectors.shape[2:]
    return torch.randn(1, WIDTH, rows // 2, columns // 2)


@SIZES
@pytest.mark.parametrize("moving", [0.0, 9.0, 400.0])
@torch.inference_mode()
def test_vectors_come_back_as_they_were(
    size: tuple[int, int], moving: float, vector_coder: VectorCoder, tables: CoderTables
) -> None:
    vectors, last = field(size, moving=moving), field(size, moving=5.0)
    context, writer = context_of(vectors), SymbolWriter(tables)
    written = vector_coder.code(vectors, last, context, writer)
    payload = writer.finish()
    reader = SymbolReader(tables, payload, parallel=False)
    read = vector_coder.code(None, last, context, reader)
    reader.finish()
    assert torch.equal(read, written)
    # Only what costs more than 12 bits may be given up.
    assert (written - vectors).abs().max() <= 1 and (written == vectors).float().mean() > 0.9


@torch.inference_mode()
def test_estimated_bits_are_those_of_the_tables(
    vector_coder: VectorCoder, tables: CoderTables
) -> None:
    vectors, last = field((32, 32), moving=6.0), field((32, 32), moving=6.0)
    context, writer = context_of(vectors), SymbolWriter(tables)
    estimator = RateEstimator(noise=False)
    for coder in (writer, estimator):
        vector_coder.code(vectors, last, context, coder)
    assert 8 * len(writer.finish()) == pytest.approx(float(estimator.total()), rel=0.02, abs=24)


@torch.inference_mode()
def test_what_repeats_is_asked_once(vector_coder: VectorCoder, tables: CoderTables) -> None:
    """Where all candidates are alike, one flag tells."""
    writer = SymbolWriter(tables)
    still = torch.zeros(1, 2, 16, 16)
    vector_coder.code(still, still, context_of(still), writer)
    assert writer.coded == still[:, :1].numel()


@torch.inference_mode()
def test_any_bytes_are_vectors_or_an_error(vector_coder: VectorCoder, tables: CoderTables) -> None:
    last = field((16, 24), moving=3.0)
    for seed in range(20):
        torch.manual_seed(seed)
        payload = bytes(torch.randint(256, (int(torch.randint(80, ())),)).tolist())
        try:
            reader = SymbolReader(tables, payload, parallel=False)
            read = vector_coder.code(None, last, context_of(last), reader)
        except CorruptStream:
            continue
        assert read.shape == last.shape and read.isfinite().all()


def test_flags_cost_what_their_probability_says() -> None:
    logits = torch.linspace(-9, 9, 200).view(1, 1, 10, 20)
    law = Bernoulli(logits, torch.ones_like(logits, dtype=torch.bool))
    rows = Bernoulli.tables()
    levels = law.rows(torch.empty(0)).flatten() - Bernoulli.first_row
    for flag in (0, 1):
        bits = law.bits(torch.full_like(logits, flag)).flatten().tolist()
        for level, cost in zip(levels.tolist(), bits, strict=True):
            start, first = int(rows.starts[level]), int(rows.offsets[level])
            low, high = rows.cumulative[start + flag - first : start + flag - first + 2].tolist()
            assert -math.log2((high - low) / TOTAL) == pytest.approx(cost, abs=0.4)


def test_flags_that_are_not_asked_for_cost_nothing() -> None:
    logits = torch.randn(1, 2, 3, 4)
    law = Bernoulli(logits, torch.zeros_like(logits, dtype=torch.bool))
    assert not law.bits(torch.zeros_like(logits)).any()
