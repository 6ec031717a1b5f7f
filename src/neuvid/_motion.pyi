"""Native block motion; native/src/motion.h tells what it does."""

import numpy as np
from numpy.typing import NDArray

def search(
    current: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    last: NDArray[np.int16],
    bit_costs: NDArray[np.float32],
    threads: int,
) -> NDArray[np.int16]:
    """Return vectors [B, 2, H/8, W/8] in quarter pixels for luma [B, H, W]; `last` came before."""

def predict(
    reference: NDArray[np.float32], vectors: NDArray[np.float32], threads: int
) -> NDArray[np.float32]:
    """Return predicted pictures [B, C, H, W] for vectors [B, 2, H/8, W/8] in pixels."""

def predict_gradient(
    gradient: NDArray[np.float32], vectors: NDArray[np.float32], threads: int
) -> NDArray[np.float32]:
    """Return the gradient of the reference for that of a prediction."""
