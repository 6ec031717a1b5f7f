"""Converts a network's layers to ones that compute in 16 bits.

They are those that autocast would take: what they compute adds a little to a signal that passes
them in float32, or to motion. So 8 bits of a mantissa suffice, and the types of states and laws
stay.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuvid.nn.blocks import SignalConv, SignalPointwise
from neuvid.nn.slimmable import Routes, Slimmable


class HalfLayer(nn.Module):
    """A convolution in 16 bits of whatever comes in."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = layer.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C', H', W'] of [B, C, H, W]."""
        output: Tensor = self.layer(x.to(self.layer.weight.dtype))
        return output


def use_16_bits(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace the convolutions inside `network`, which is for inference, but those of signals.

    `dtype` is float16 or bfloat16.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d) and not isinstance(child, (SignalConv, SignalPointwise)):
            setattr(network, name, HalfLayer(child, dtype))
            continue
        if isinstance(child, Slimmable):
            child = Routes(child)
            setattr(network, name, child)
        use_16_bits(child, dtype)
