"""The authors' own outputs on synthetic weights, and how ours are held against them."""

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

from neuvid.entropy.distributions import Distribution, Gaussian, Laplace

SHARED = Path(__file__).parents[3] / "shared"
GOLDEN = SHARED / "golden"
TOLERANCE = 1e-4  # of the largest value

needs_reference = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason="the reference outputs are not here"
)


class Replay:
    """A coder that returns recorded symbols and remembers what it was asked to code."""

    def __init__(self, symbols: list[NDArray[Any]]) -> None:
        self.symbols = iter(symbols)
        self.laws: list[Distribution] = []
        self.scales: list[Tensor] = []
        self.differing = 0

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        recorded = torch.from_numpy(next(self.symbols)).float()[None]
        self.laws.append(law)
        if isinstance(law, (Gaussian, Laplace)):
            self.scales.append(law.scales)
        if values is not None:
            self.differing += int((law.coded(values.round()) != recorded).sum())
        return recorded


class Encode:
    """A coder that rounds, as one that writes does."""

    def code(self, values: Tensor | None, law: Distribution) -> Tensor:
        assert values is not None
        return law.coded(values.round())


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
def frames(recipe: Any) -> list[Tensor]:
    luma, chroma = recipe.clip()
    return [torch.from_numpy(recipe.to_444(y, uv)) for y, uv in zip(luma, chroma, strict=True)]


def agree(ours: Tensor, reference: NDArray[Any]) -> None:
    expected = torch.from_numpy(reference).float()
    error = (ours.squeeze(0) - expected).abs().max() / expected.abs().max()
    assert error < TOLERANCE


def symbols(golden: Mapping[str, NDArray[Any]], prefix: str, steps: int) -> list[NDArray[Any]]:
    return [golden[f"{prefix}z_hat"], *(golden[f"{prefix}yq{step}"] for step in range(steps))]


def check_scales(
    scales: list[Tensor], golden: Mapping[str, NDArray[Any]], prefix: str, minimum: float
) -> None:
    for step, each in enumerate(scales):
        agree(each, np.maximum(golden[f"{prefix}s{step}"], minimum))


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a module receives first. A synthesis proves the means: symbols are given."""
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    yield seen
    hook.remove()
