"""Native blocks for training; native/src/fused.h tells what they do."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def levels() -> list[str]:
    """Return the ways to compute products that this processor has, the fastest last."""

class Block:
    """A block with the weights it was made with: those of each layer in turn, then its bias."""

    def __init__(
        self, weights: Sequence[NDArray[np.float32]], shortcut: bool, level: str
    ) -> None: ...
    def saved_bytes(self, batch: int, height: int, width: int) -> int:
        """Return how many bytes `backward` needs of `forward`."""

    def forward(
        self,
        input: NDArray[np.float32],
        output: NDArray[np.float32],
        saved: NDArray[np.uint8] | None,
        threads: int,
    ) -> None:
        """Write the output [B, H, W, C'] of an input [B, H, W, C], and what `backward` needs."""

    def backward(
        self,
        input: NDArray[np.float32],
        saved: NDArray[np.uint8],
        output_gradient: NDArray[np.float32],
        input_gradient: NDArray[np.float32],
        gradients: NDArray[np.float32],
        threads: int,
    ) -> None:
        """Write the gradients of the input, and of all weights one after the other."""

class Convolution:
    """A convolution with the weights [C', K, K, C] it was made with, as exact as float32."""

    def __init__(
        self,
        weights: NDArray[np.float32],
        bias: NDArray[np.float32],
        stride: int,
        padding: int,
        level: str,
    ) -> None: ...
    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the output."""

    def forward(
        self, input: NDArray[np.float32], output: NDArray[np.float32], threads: int
    ) -> None:
        """Write the output [B, H', W', C'] of an input [B, H, W, C]."""

    def backward(
        self,
        input: NDArray[np.float32],
        output_gradient: NDArray[np.float32],
        input_gradient: NDArray[np.float32],
        gradients: NDArray[np.float32],
        threads: int,
    ) -> None:
        """Write the gradients of the input, and of the weights, then the bias."""

def code_laplace(
    level: str,
    values: NDArray[np.float32],
    scales: NDArray[np.float32],
    noise: NDArray[np.float32],
    coded: NDArray[np.float32],
    value_slopes: NDArray[np.float32],
    scale_slopes: NDArray[np.float32],
    bits: NDArray[np.float32],
    bounds: tuple[float, float, float, float],
) -> None:
    """Write what is coded of values [B, N], the slopes of bits by value and scale, and bits [B].

    `bounds` are the scale up to which a value is 0, the squared error worth a bit, the least
    probability and the largest symbol.
    """

def code_flags(
    flags: NDArray[np.float32],
    logits: NDArray[np.float32],
    asked: NDArray[np.bool_],
    most: float,
    bits: NDArray[np.float32],
    slopes: NDArray[np.float32],
) -> None:
    """Write the bits [B] of flags [B, N] and their slopes by the logits, which end at +-`most`."""

def adam_change(
    gradients: NDArray[np.float32],
    momentum: NDArray[np.float32],
    squares: NDArray[np.float32],
    beta: float,
    epsilon: float,
    growth: float,
    scale: float,
) -> None:
    """Update Adam's averages [N], which began at zero, by gradients [N] divided by `scale`.

    What Adam changes by takes the gradients' place; `growth` is what the averages have grown to.
    """
