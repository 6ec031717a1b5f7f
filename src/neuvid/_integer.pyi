"""Native kernels of `neuvid.nn.exact`, to which they are equal bit for bit.

Arrays are C-contiguous and of exactly the types given; anything else raises TypeError, and sizes
that contradict each other raise ValueError. Layers copy what they are made of; one may be used on
several threads at once. The heavy calls release the GIL.
"""

import numpy as np
from numpy.typing import NDArray

def levels() -> list[str]:
    """Return the names of the kernels that this processor runs, the fastest last."""

class Matrix:
    """Integer weights, with a step and a bias for each output.

    The absolute weights of 256 neighbouring inputs, from each multiple of 256, must sum to less
    than 2^18: `IntegerMatrix.of` makes such weights.
    """

    def __init__(
        self, weights: NDArray[np.int16], steps: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None:
        """Copy `weights` [outputs, inputs], `steps` [outputs] and `bias` [outputs]."""

class Convolution:
    """A convolution with a square kernel; the matrix has the inputs [kernel, kernel, C]."""

    def __init__(
        self, matrix: Matrix, kernel: int, stride: int, padding: int, level: str
    ) -> None: ...
    def apply(self, input: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
        """Return [B, H', W', outputs] of [B, H, W, C]."""

class Block:
    """A `DepthConvBlock`: `depthwise` is [9, C] and `depthwise_bias` [C]."""

    def __init__(
        self,
        adaptor: Matrix | None,
        expand: Matrix,
        depthwise: NDArray[np.float32],
        depthwise_bias: NDArray[np.float32],
        project: Matrix,
        widen: Matrix,
        narrow: Matrix,
        shortcut: bool,
        level: str,
    ) -> None: ...
    def apply(self, input: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
        """Return [B, H, W, C] of [B, H, W, inputs]."""
