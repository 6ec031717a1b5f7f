from __future__ import annotations

import time

from neuvid.training.time_limit import LEAVING_SECONDS, TimeLimit


def test_a_run_ends_while_the_parts_to_come_still_fit() -> None:
    limit = TimeLimit(time.monotonic() + LEAVING_SECONDS + 60)
    assert limit.allows("validation")  # not measured yet
    with limit.timing("validation"):
        time.sleep(0.1)
    with limit.timing("validation"):  # shorter; the longest counts
        pass
    assert limit.allows("validation")
    assert not limit.allows(*["validation"] * 600)
    assert not TimeLimit(time.monotonic() + LEAVING_SECONDS).allows()
    assert TimeLimit(None).allows(*["validation"] * 600)
