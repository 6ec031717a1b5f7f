"""Block motion: search, compensation of pictures, and of feature maps.

A vector (x, y) in pixels for each 8x8 block points to where its content was. What a decoder
computes is single float32 operations in a written order, so that it is the same on every machine.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from neuvid import _motion

BLOCK = 8  # pixels along the side of a block with one vector
TAPS = 4  # of the Catmull-Rom interpolation
PATCH = BLOCK + TAPS - 1
VECTOR_MAX = float(1 << 14)  # pixels
QUARTERS = 4  # steps of a pixel in which vectors are searched


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

    Bilinear windows of 16x16 pixels blend the predictions of neighbouring blocks; each is a
    Catmull-Rom interpolation of the reference, whose edges repeat without end.
    """
    if reference.device.type == "cpu":
        prediction: Tensor = _NativeCompensation.apply(reference, vectors)  # type: ignore[no-untyped-call]
        return prediction
    return compensate_by_definition(reference, vectors)


class _NativeCompensation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, reference: Tensor, vectors: Tensor) -> Tensor:
        reference, vectors = reference.contiguous(), vectors.contiguous()
        ctx.save_for_backward(reference, vectors)
        threads = torch.get_num_threads()
        return torch.from_numpy(_motion.predict(reference.numpy(), vectors.numpy(), threads))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        arrays = [tensor.contiguous().numpy() for tensor in (*ctx.saved_tensors, *gradients)]
        wants_vectors, threads = ctx.needs_input_grad[1], torch.get_num_threads()
        reference, vectors, gradient = arrays
        of_reference, of_vectors = _motion.predict_gradient(
            reference, vectors, gradient, wants_vectors, threads
        )
        return torch.from_numpy(of_reference), torch.from_numpy(
            of_vectors
        ) if wants_vectors else None


def compensate_by_definition(reference: Tensor, vectors: Tensor) -> Tensor:
    """Return what `compensate_picture` returns, on any device.

    Cells of 8x8 pixels between the centres of four blocks are predicted by each of the four.
    """
    batch, channels, height, width = reference.shape
    device = reference.device
    padded = functional.pad(vectors, (1, 1, 1, 1), mode="replicate").clamp(-VECTOR_MAX, VECTOR_MAX)
    below = (2 * torch.arange(BLOCK, device=device) + 1) / (2 * BLOCK)
    windows = (1 - below, below)
    rows, columns = height // BLOCK + 1, width // BLOCK + 1
    cells = torch.zeros(batch, channels, rows, columns, BLOCK, BLOCK, device=device)
    for i in (0, 1):
        for j in (0, 1):
            corner = padded[:, :, i : i + rows, j : j + columns]
            window = windows[i][:, None] * windows[j]
            cells = cells + _interpolate(reference, corner) * window
    picture = cells.permute(0, 1, 2, 4, 3, 5).flatten(4, 5).flatten(2, 3)
    edge = BLOCK // 2
    return picture[:, :, edge : edge + height, edge : edge + width]


def _interpolate(reference: Tensor, vectors: Tensor) -> Tensor:
    """Return cells [B, C, rows, columns, 8, 8] read at a vector [B, 2, rows, columns] each."""
    whole = vectors.floor()
    x_taps, y_taps = (
        [tap[:, None, :, :, None, None] for tap in _taps(fraction)]
        for fraction in (vectors - whole).unbind(1)
    )
    patches = _patches(reference, whole.long())
    strips = [patches[..., k : k + BLOCK] * tap for k, tap in enumerate(x_taps)]
    strip = ((strips[0] + strips[1]) + strips[2]) + strips[3]
    cells = [strip[..., k : k + BLOCK, :] * tap for k, tap in enumerate(y_taps)]
    return ((cells[0] + cells[1]) + cells[2]) + cells[3]


def _patches(reference: Tensor, whole: Tensor) -> Tensor:
    """Return [B, C, rows, columns, 11, 11]: the samples that cells shifted by `whole` need."""
    batch, channels, height, width = reference.shape
    reach = torch.arange(PATCH, device=reference.device) - 1
    top, left = (
        BLOCK * torch.arange(cells, device=reference.device) - BLOCK // 2
        for cells in whole.shape[2:]
    )
    y = (top[:, None, None] + whole[:, 1, :, :, None] + reach).clamp(0, height - 1)
    x = (left[:, None] + whole[:, 0, :, :, None] + reach).clamp(0, width - 1)
    indexes = (y[..., :, None] * width + x[..., None, :]).flatten(1)
    samples = reference.flatten(2).gather(2, indexes[:, None].expand(-1, channels, -1))
    return samples.view(batch, channels, *whole.shape[2:], PATCH, PATCH)


def _taps(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the weights of the samples at -1, 0, 1, 2 for a position between 0 and 1."""
    t2 = t * t
    t3 = t2 * t
    return (
        (t2 - 0.5 * t) - 0.5 * t3,
        (1.5 * t3 - 2.5 * t2) + 1.0,
        (0.5 * t + 2.0 * t2) - 1.5 * t3,
        0.5 * t3 - 0.5 * t2,
    )


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
