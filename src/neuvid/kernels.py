"""Which native kernels this processor trains with."""

from __future__ import annotations

import os

from neuvid import _fused
from neuvid.errors import InvalidSetting

VARIABLE = "NEUVID_TRAINING_KERNELS"  # of the environment: the last level that may be used
NAMES = ("none", "avx2", "avx512", "amx")
BFLOAT16_LEVEL = NAMES[-1]


def _levels() -> list[str]:
    most = os.environ.get(VARIABLE, BFLOAT16_LEVEL)
    if most not in NAMES:
        raise InvalidSetting(VARIABLE, got=most, expected=", ".join(NAMES))
    return [level for level in _fused.levels() if NAMES.index(level) <= NAMES.index(most)]


LEVELS = _levels()  # the fastest last; empty where PyTorch computes all
