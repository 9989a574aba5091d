"""Times of calls are added up over terminals, also over workers that were started anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.call_times import BOUNDS, CallTimes
from node_agent.call_times import NodeCallTimes


def told(times: CallTimes) -> dict[str, Any]:
    return {"counts": list(times.counts), "seconds": times.seconds}


@pytest.mark.parametrize(
    ("seconds", "index"), [(0.0, 0), (0.001, 0), (0.0011, 1), (30.0, len(BOUNDS) - 1), (31.0, len(BOUNDS))]
)
def test_a_call_counts_in_the_class_that_it_is_not_longer_than(seconds: float, index: int) -> None:
    times = CallTimes()
    times.add(seconds)
    assert times.counts.index(1) == index


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5), st.booleans()), max_size=40))
def test_no_call_is_lost_or_counted_twice(steps: list[tuple[str, int, bool]]) -> None:
    node, workers, made = NodeCallTimes(), {"a": CallTimes(), "b": CallTimes()}, 0
    for terminal, calls, restarted in steps:
        # A new worker is asked before it has made more calls than the old one, which could not be told apart.
        if restarted:
            workers[terminal] = CallTimes()
            node.tell(terminal, told(workers[terminal]))
        for _ in range(calls):
            workers[terminal].add(0.02)
        made += calls
        node.tell(terminal, told(workers[terminal]))
    assert sum(node.total.counts) == made
    assert node.total.seconds == pytest.approx(0.02 * made)


@pytest.mark.parametrize("junk", [None, {}, {"counts": [1], "seconds": 1}, {"counts": "many", "seconds": 0}, 7])
def test_what_an_older_worker_does_not_tell_is_no_error(junk: Any) -> None:
    node = NodeCallTimes()
    node.tell("a", junk)
    assert sum(node.total.counts) == 0
