"""Blocks whose forward and backward passes are computed natively, for training on a CPU.

A chunk of pixels goes through all layers of a block while it is in the cache, and most of what
backward needs is computed again instead of stored. The products' factors are bfloat16 where
autocast says so and the processor has tiles for them (AMX), else float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuvid import _fused
from neuvid.nn.blocks import DepthConvBlock
from neuvid.nn.slimmable import Slimmable

BFLOAT16_LEVEL = "amx"
LEVELS = _fused.levels()
FLOAT_LEVELS = [level for level in LEVELS if level != BFLOAT16_LEVEL]


class _Weights:
    """The weights of a block, packed anew when they have changed."""

    def __init__(self, tensors: tuple[Tensor, ...], shortcut: bool, level: str) -> None:
        self.tensors = tensors
        self.level = level
        self.versions = [tensor._version for tensor in tensors]
        arrays = [tensor.detach().contiguous().numpy() for tensor in tensors]
        self.block = _fused.Block(arrays, shortcut, level)

    def are(self, tensors: tuple[Tensor, ...], level: str) -> bool:
        """Return whether they are those of `tensors` as they are now."""
        return self.level == level and all(
            own is other and version == other._version
            for own, other, version in zip(self.tensors, tensors, self.versions, strict=True)
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        return None  # a copy of a module packs its own


class _FusedFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, block: _fused.Block, x: Tensor, *weights: Tensor) -> Tensor:
        rows = x.permute(0, 2, 3, 1).contiguous()
        batch, height, width, _ = rows.shape
        output = rows.new_empty(batch, height, width, weights[-1].shape[0])
        saved = None
        if any(ctx.needs_input_grad):
            size = block.saved_bytes(batch, height, width)
            saved = torch.empty(size, dtype=torch.uint8)
            ctx.block = block
            ctx.sizes = [weight.shape for weight in weights]
            ctx.save_for_backward(rows, saved)
        threads = torch.get_num_threads()
        block.forward(rows.numpy(), output.numpy(), None if saved is None else saved.numpy(), threads)
        return output.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, saved = ctx.saved_tensors
        outer = gradients[0].permute(0, 2, 3, 1).contiguous()
        of_input = torch.empty_like(rows)
        counts = [size.numel() for size in ctx.sizes]
        of_weights = rows.new_empty(sum(counts))
        arrays = [tensor.numpy() for tensor in (rows, saved, outer, of_input, of_weights)]
        ctx.block.backward(*arrays, torch.get_num_threads())
        parts = zip(of_weights.split(counts), ctx.sizes, strict=True)
        return None, of_input.permute(0, 3, 1, 2), *(part.view(size) for part, size in parts)


class FusedBlock(nn.Module):
    """A DepthConvBlock with the same weights under the same names, computed natively."""

    def __init__(self, block: DepthConvBlock) -> None:
        super().__init__()
        self.adaptor = block.adaptor
        self.expand = block.expand
        self.depthwise = block.depthwise
        self.project = block.project
        self.widen = block.widen
        self.narrow = block.narrow
        self.shortcut = block.shortcut
        self._packed: _Weights | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, H, W]."""
        level = FLOAT_LEVELS[-1]
        if torch.is_autocast_enabled("cpu") and BFLOAT16_LEVEL in LEVELS:
            level = BFLOAT16_LEVEL
        weights = tuple(self._parameters_in_order())
        if self._packed is None or not self._packed.are(weights, level):
            self._packed = _Weights(weights, self.shortcut, level)
        output: Tensor = _FusedFunction.apply(self._packed.block, x.float(), *weights)  # type: ignore[no-untyped-call]
        return output

    def _parameters_in_order(self) -> list[Tensor]:
        layers = (self.adaptor, self.expand, self.depthwise, self.project, self.widen, self.narrow)
        return [tensor for layer in layers if layer for tensor in (layer.weight, layer.bias)]


def fuse(network: nn.Module) -> None:
    """Replace the blocks inside `network`, which is trained on this CPU, where that is possible."""
    if not FLOAT_LEVELS:
        return
    if isinstance(network, Slimmable):
        for route in range(network.routes):
            fuse(network.network(route))
    for name, child in network.named_children():
        if isinstance(child, DepthConvBlock):
            setattr(network, name, FusedBlock(child))
        else:
            fuse(child)
