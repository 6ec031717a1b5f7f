from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from neuvid.training.compilation import choose


def waits(milliseconds: float) -> Callable[[], None]:
    return lambda: time.sleep(milliseconds / 1000)


def fails() -> None:
    raise ValueError("no compiler\nin many lines")


def test_the_fastest_way_is_chosen() -> None:
    assert choose({"plain": waits(20), "fast": waits(1), "slow": waits(40)}).name == "fast"
    choice = choose({"plain": waits(1), "slow": waits(20)})
    assert choice.name == "plain" and choice.ratio == 1.0 and not choice.failures


def test_the_first_run_of_a_way_does_not_count() -> None:
    runs: list[int] = []

    def compiles() -> None:
        runs.append(1)
        time.sleep(0.001 if len(runs) > 1 else 0.1)

    assert choose({"plain": waits(20), "compiled": compiles}).name == "compiled"


def test_what_fails_is_out_and_told() -> None:
    choice = choose({"plain": waits(1), "compiled": fails})
    assert choice.name == "plain"
    assert choice.failures == {"compiled": "ValueError: no compiler"}
    assert "no compiler" in str(choice) and "many lines" not in str(choice)
    with pytest.raises(ValueError, match="no compiler"):
        choose({"plain": fails, "compiled": waits(1)})
