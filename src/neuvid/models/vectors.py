"""Lossless coding of block vectors, from a coarse grid to a fine one.

Vectors of a grid of 64 pixels come first. Each finer grid has three more for each of them: first
that between four known ones, then the two that have known ones on all four sides. A vector is
most often that of a neighbour, or the one of the last frame: flags tell which, and what is none
of them is coded as a difference.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuvid.entropy.coder import LatentCoder
from neuvid.entropy.distributions import Bernoulli
from neuvid.nn.blocks import DepthConvBlock, Down, SignalPointwise, pad_to
from neuvid.priors.checkerboard import skipping_laplace

GRIDS = 3  # that follow the coarsest one
COARSEST = 1 << GRIDS  # blocks between vectors of the coarsest grid
AROUND = 4  # known neighbours of a vector
CANDIDATES = AROUND + 3  # and their median with the last frame's vector, that vector, and zero
COMPONENTS = 2  # x and y
RELATIONS = COMPONENTS * (CANDIDATES - 1)  # of the candidates to the first one
SOFTNESS = 4.0  # quarter pixels; differences much longer than this look alike
SCALE_LEAST = 1.0  # quarter pixels, of differences that are coded


class VectorCoder(nn.Module):
    """Codes vectors [B, 2, H/8, W/8] in quarter pixels, which are whole numbers.

    The context [B, width, H/16, W/16] is what is known besides.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.coarser = nn.ModuleList(Down(width, width) for _ in range(GRIDS - 1))
        self.coarsest = _head(width, 1, candidates=2)
        self.grids = nn.ModuleList(_FinerGrid(width) for _ in range(GRIDS))

    def code(
        self, vectors: Tensor | None, last: Tensor, context: Tensor, coder: LatentCoder
    ) -> Tensor:
        """Code vectors (None when reading), given those of the last frame of the same shape.

        Returns them as a decoder sees them.
        """
        rows, columns = last.shape[2:]
        last = pad_to(last, COARSEST)
        wanted = None if vectors is None else pad_to(vectors, COARSEST)
        contexts = [pad_to(context, COARSEST // 2)]
        for down in self.coarser:
            contexts.append(down(contexts[-1]))
        place = slice(None, None, COARSEST)
        first = last[..., place, place]
        candidates = [first, torch.zeros_like(first)]
        foreseen = self.coarsest(contexts[-1])
        known = _code_one_of(_at(wanted, place, place), candidates, foreseen, coder)
        for number, grid in enumerate(self.grids):
            step = COARSEST >> (number + 1)
            fine = slice(None, None, step)
            context = contexts[-1 - number]
            known = grid(_at(wanted, fine, fine), known, last[..., fine, fine], context, coder)
        return known[..., :rows, :columns]


class _FinerGrid(nn.Module):
    """Codes the vectors between and beside those of a grid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.between = _Laws(width, 1)
        self.beside = _Laws(width, 2)

    def forward(
        self,
        wanted: Tensor | None,
        known: Tensor,
        last: Tensor,
        context: Tensor,
        coder: LatentCoder,
    ) -> Tensor:
        """Return a grid [B, 2, 2h, 2w] of which every second row and column is `known`."""
        odd, even = slice(1, None, 2), slice(None, None, 2)
        right, below = _shifted(known, 0, 1), _shifted(known, 1, 0)
        corners = [known, right, below, _shifted(known, 1, 1)]
        candidates = _candidates(corners, last[..., odd, odd])
        (foreseen,) = self.between(context, [candidates])
        centre = _code_one_of(_at(wanted, odd, odd), candidates, foreseen, coder)

        sides = [
            _candidates([known, right, centre, _shifted(centre, -1, 0)], last[..., even, odd]),
            _candidates([known, below, centre, _shifted(centre, 0, -1)], last[..., odd, even]),
        ]
        foreseen = torch.cat(self.beside(context, sides), 2)
        candidates = [torch.cat(pair, 2) for pair in zip(*sides, strict=True)]
        both = None
        if wanted is not None:
            both = torch.cat((wanted[..., even, odd], wanted[..., odd, even]), 2)
        at_right, at_bottom = _code_one_of(both, candidates, foreseen, coder).chunk(2, 2)
        grid = torch.stack((known, at_right, at_bottom, centre), 2)
        return functional.pixel_shuffle(grid.flatten(1, 2), 2)


class _Laws(nn.Module):
    """Foresees which candidates are right at `places` places, and by how much they are wrong."""

    def __init__(self, width: int, places: int) -> None:
        super().__init__()
        self.body = DepthConvBlock(width + places * RELATIONS, width)
        self.head = _head(width, places, candidates=CANDIDATES)

    def forward(self, context: Tensor, candidates: list[list[Tensor]]) -> list[Tensor]:
        """Return parameters [B, P, h, w] for the candidates [B, 2, h, w] of each place."""
        relations = [_soften(other - first) for first, *others in candidates for other in others]
        foreseen: Tensor = self.head(self.body(torch.cat((context, *relations), 1)))
        return list(foreseen.chunk(len(candidates), 1))


def _head(width: int, places: int, *, candidates: int) -> SignalPointwise:
    """Return what foresees for each place a logit for each candidate, and two roots of scales."""
    head = SignalPointwise(width, places * (candidates + COMPONENTS))
    nn.init.zeros_(head.weight)
    nn.init.ones_(head.bias)  # type: ignore[arg-type]
    return head


def _soften(differences: Tensor) -> Tensor:
    return differences / (differences.abs() + SOFTNESS)


def _at(vectors: Tensor | None, rows: slice, columns: slice) -> Tensor | None:
    return None if vectors is None else vectors[..., rows, columns]


def _shifted(vectors: Tensor, down: int, right: int) -> Tensor:
    """Return for each place the vector so many places below and to the right of it."""
    rows, columns = vectors.shape[2:]
    padded = functional.pad(vectors, (1, 1, 1, 1), mode="replicate")
    return padded[:, :, 1 + down : 1 + down + rows, 1 + right : 1 + right + columns]


def _candidates(around: list[Tensor], last: Tensor) -> list[Tensor]:
    median = torch.stack((*around, last)).sort(0).values[AROUND // 2]
    return [median, *around, last, torch.zeros_like(last)]


def _code_one_of(
    vectors: Tensor | None, candidates: list[Tensor], foreseen: Tensor, coder: LatentCoder
) -> Tensor:
    """Code which candidate each vector is, first come first served, or how far from the first."""
    chosen = first = candidates[0]
    is_open = torch.ones_like(first[:, :1], dtype=torch.bool)
    repeated = _repeated(candidates)
    for number, candidate in enumerate(candidates):
        asked = is_open & ~repeated[number]
        hits = None
        if vectors is not None:
            hits = (asked & _same(vectors, candidate)).to(first.dtype)
        flags = coder.code(hits, Bernoulli(foreseen[:, number : number + 1], asked))
        is_hit = asked & (flags == 1)
        chosen = torch.where(is_hit, candidate, chosen)
        is_open = is_open & ~is_hit
    roots = foreseen[:, len(candidates) :]
    scales = torch.where(is_open, SCALE_LEAST + roots.square(), 0.0)
    missing = None if vectors is None else torch.where(is_open, vectors - first, 0.0)
    return torch.where(is_open, first + coder.code(missing, skipping_laplace(scales)), chosen)


def _same(one: Tensor, other: Tensor) -> Tensor:
    return (one == other).all(1, keepdim=True)


def _repeated(candidates: list[Tensor]) -> list[Tensor]:
    """Return where each candidate [B, 1, h, w] is one of those before it."""
    repeated = [torch.zeros_like(candidate[:, :1], dtype=torch.bool) for candidate in candidates]
    for earlier, later in combinations(range(len(candidates)), 2):
        repeated[later] = repeated[later] | _same(candidates[earlier], candidates[later])
    return repeated
