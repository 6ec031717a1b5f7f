"""Native block motion; native/src/motion.h tells what it does."""

import numpy as np
from numpy.typing import NDArray

def search(
    current: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    last: NDArray[np.int16],
    bit_cost: float,
) -> NDArray[np.int16]:
    """Return vectors [2, H/8, W/8] in quarter pixels for luma [H, W]; `last` were those before."""

def predict(reference: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return predicted pictures [B, C, H, W] for vectors [B, 2, H/8, W/8] in pixels."""

def predict_gradient(
    reference: NDArray[np.float32], vectors: NDArray[np.float32], gradient: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the gradients of reference and vectors."""
