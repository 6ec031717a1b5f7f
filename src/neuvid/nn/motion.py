"""Block motion: search, compensation of pictures, and of feature maps.

A vector (x, y) in pixels, which are whole quarters, points for each 8x8 block to where its content
was. What a decoder computes is single float32 operations in a written order, so that it is the same
on every machine.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from neuvid import _motion

BLOCK = 8  # pixels along the side of a block with one vector
VECTOR_MAX = float(1 << 14)  # pixels
QUARTERS = 4  # steps of a pixel in which vectors are searched
# Weights of the samples around a position 0, 1, 2, 3 quarters after the middle one: those of H.265,
# and of Catmull-Rom for chroma, whose samples lie there twice.
LUMA_WEIGHTS = (
    (0, 0, 0, 1, 0, 0, 0, 0),
    (-1 / 64, 4 / 64, -10 / 64, 58 / 64, 17 / 64, -5 / 64, 1 / 64, 0),
    (-1 / 64, 4 / 64, -11 / 64, 40 / 64, 40 / 64, -11 / 64, 4 / 64, -1 / 64),
    (0, 1 / 64, -5 / 64, 17 / 64, 58 / 64, -10 / 64, 4 / 64, -1 / 64),
)
CHROMA_WEIGHTS = (
    (0, 1, 0, 0),
    (-9 / 128, 111 / 128, 29 / 128, -3 / 128),
    (-8 / 128, 72 / 128, 72 / 128, -8 / 128),
    (-3 / 128, 29 / 128, 111 / 128, -9 / 128),
)


def search_motion(frame: Tensor, reference: Tensor, last: Tensor, bit_costs: Tensor) -> Tensor:
    """Return vectors [B, 2, H/8, W/8] in pixels from luma [B, H, W] to a reference.

    Luma is in [0, 1]; `last` are the vectors of the frame before. A bit of a vector is worth
    `bit_costs` [B] of the summed absolute error in 8-bit steps.
    """
    current, before = (
        (luma * 255).round().clamp(0, 255).to(torch.uint8).cpu().contiguous().numpy()
        for luma in (frame.detach(), reference.detach())
    )
    quarters = (last.detach() * QUARTERS).round().to(torch.int16).cpu().contiguous().numpy()
    costs = bit_costs.detach().float().cpu().contiguous().numpy()
    found = _motion.search(current, before, quarters, costs, torch.get_num_threads())
    return torch.from_numpy(found).to(frame.device, torch.float32) / QUARTERS


def compensate_picture(reference: Tensor, vectors: Tensor) -> Tensor:
    """Return the prediction [B, C, H, W] from a reference of that shape and vectors.

    Bilinear windows of 16x16 pixels blend the predictions of neighbouring blocks; each is an
    interpolation of the reference, whose edges repeat without end. Luma comes first. Vectors count
    as the nearest quarters of a pixel; no gradient reaches them.
    """
    if reference.device.type == "cpu":
        prediction: Tensor = _NativeCompensation.apply(reference, vectors)  # type: ignore[no-untyped-call]
        return prediction
    return compensate_by_definition(reference, vectors)


class _NativeCompensation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, reference: Tensor, vectors: Tensor) -> Tensor:
        reference, vectors = reference.contiguous(), vectors.contiguous()
        ctx.save_for_backward(vectors)
        threads = torch.get_num_threads()
        return torch.from_numpy(_motion.predict(reference.numpy(), vectors.numpy(), threads))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (vectors,) = ctx.saved_tensors
        gradient = gradients[0].contiguous().numpy()
        threads = torch.get_num_threads()
        return torch.from_numpy(_motion.predict_gradient(gradient, vectors.numpy(), threads)), None


def compensate_by_definition(reference: Tensor, vectors: Tensor) -> Tensor:
    """Return what `compensate_picture` returns, on any device.

    Cells of 8x8 pixels between the centres of four blocks are predicted by each of the four.
    """
    batch, channels, height, width = reference.shape
    device = reference.device
    padded = functional.pad(vectors, (1, 1, 1, 1), mode="replicate").clamp(-VECTOR_MAX, VECTOR_MAX)
    quarters = (padded * QUARTERS).round().long()
    below = (2 * torch.arange(BLOCK, device=device) + 1) / (2 * BLOCK)
    windows = (1 - below, below)
    rows, columns = height // BLOCK + 1, width // BLOCK + 1
    cells = torch.zeros(batch, channels, rows, columns, BLOCK, BLOCK, device=device)
    for i in (0, 1):
        for j in (0, 1):
            corner = quarters[:, :, i : i + rows, j : j + columns]
            parts = (
                _interpolate(reference[:, :1], corner, LUMA_WEIGHTS),
                _interpolate(reference[:, 1:], corner, CHROMA_WEIGHTS),
            )
            cells = cells + torch.cat(parts, 1) * (windows[i][:, None] * windows[j])
    picture = cells.permute(0, 1, 2, 4, 3, 5).flatten(4, 5).flatten(2, 3)
    edge = BLOCK // 2
    return picture[:, :, edge : edge + height, edge : edge + width]


def _interpolate(
    reference: Tensor, quarters: Tensor, weights: tuple[tuple[float, ...], ...]
) -> Tensor:
    """Return cells [B, C, rows, columns, 8, 8] read at a vector [B, 2, rows, columns] each."""
    table = torch.tensor(weights, device=reference.device)
    taps = table.shape[1]
    across, down = (
        table[component].movedim(-1, 0)[:, :, None, :, :, None, None]
        for component in (quarters % QUARTERS).unbind(1)
    )
    patches = _patches(reference, quarters.div(QUARTERS, rounding_mode="floor"), taps)
    strip = patches[..., :BLOCK] * across[0]
    for k in range(1, taps):
        strip = strip + patches[..., k : k + BLOCK] * across[k]
    cells = strip[..., :BLOCK, :] * down[0]
    for k in range(1, taps):
        cells = cells + strip[..., k : k + BLOCK, :] * down[k]
    return cells


def _patches(reference: Tensor, whole: Tensor, taps: int) -> Tensor:
    """Return what cells shifted by `whole` need, [B, C, rows, columns, n, n] with n = 7 + taps."""
    batch, channels, height, width = reference.shape
    reach = torch.arange(BLOCK + taps - 1, device=reference.device) - (taps // 2 - 1)
    top, left = (
        BLOCK * torch.arange(cells, device=reference.device) - BLOCK // 2
        for cells in whole.shape[2:]
    )
    y = (top[:, None, None] + whole[:, 1, :, :, None] + reach).clamp(0, height - 1)
    x = (left[:, None] + whole[:, 0, :, :, None] + reach).clamp(0, width - 1)
    indexes = (y[..., :, None] * width + x[..., None, :]).flatten(1)
    samples = reference.flatten(2).gather(2, indexes[:, None].expand(-1, channels, -1))
    return samples.view(batch, channels, *whole.shape[2:], len(reach), len(reach))


def compensate_features(features: Tensor, vectors: Tensor) -> Tensor:
    """Return features [B, C, h, w], one position for each block, moved along its vector.

    Bilinear interpolation; edges repeat without end.
    """
    batch, channels, height, width = features.shape
    offsets = vectors.clamp(-VECTOR_MAX, VECTOR_MAX) / BLOCK
    whole = offsets.floor()
    x_after, y_after = (offsets - whole)[..., None].unbind(1)  # [B, h, w, 1]
    x, y = whole.long().unbind(1)
    y = y + torch.arange(height, device=features.device)[:, None]
    x = x + torch.arange(width, device=features.device)
    first = height * width * torch.arange(batch, device=features.device)[:, None, None]
    rows = features.permute(0, 2, 3, 1).flatten(0, 2)  # [B h w, C]

    def read(down: int, right: int) -> Tensor:
        row, column = (y + down).clamp(0, height - 1), (x + right).clamp(0, width - 1)
        samples = rows.index_select(0, (first + row * width + column).flatten())
        return samples.view(batch, height, width, channels)

    above = read(0, 0) * (1 - x_after) + read(0, 1) * x_after
    below = read(1, 0) * (1 - x_after) + read(1, 1) * x_after
    return (above * (1 - y_after) + below * y_after).permute(0, 3, 1, 2)
