"""One thread, a bounded queue, a deadline for every call."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mt5_bridge.executor import BusyError, DeadlineError, Executor
from tests.bridge_doubles import eventually


class Wedged:
    def __init__(self) -> None:
        self.labels: list[str] = []

    def __call__(self, label: str) -> None:
        self.labels.append(label)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def occupied(executor: Executor, gate: threading.Event) -> None:
    started = threading.Event()

    def work() -> None:
        started.set()
        gate.wait(30)

    threading.Thread(target=executor.run, args=("slow", 60.0, work), daemon=True).start()
    assert started.wait(10)


def test_results_and_exceptions_come_back_to_the_caller() -> None:
    executor = Executor(Wedged())
    executor.start()
    assert executor.run("add", 5, lambda: 1 + 1) == 2
    with pytest.raises(ZeroDivisionError):
        executor.run("divide", 5, lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="from the work"):
        executor.run("slow", 5, lambda: (_ for _ in ()).throw(TimeoutError("from the work")))
    assert executor.run("again", 5, threading.get_ident) != threading.get_ident()
    assert executor.stop(5)


def test_a_full_queue_refuses_at_once(gate: threading.Event) -> None:
    executor = Executor(Wedged(), queue_limit=1)
    executor.start()
    occupied(executor, gate)
    threading.Thread(target=executor.run, args=("waits", 60.0, int), daemon=True).start()
    eventually(executor._queue.full)
    with pytest.raises(BusyError):
        executor.run("one too many", 60.0, int)


def test_a_call_that_waited_too_long_is_never_run(gate: threading.Event) -> None:
    executor = Executor(Wedged())
    executor.start()
    occupied(executor, gate)
    ran = threading.Event()
    with pytest.raises(DeadlineError):
        executor.run("late", 0.05, ran.set)
    gate.set()
    executor.run("next", 5, int)
    assert not ran.is_set()


def test_a_wedged_call_is_reported_once_and_by_name(gate: threading.Event) -> None:
    now = [0.0]
    wedged = Wedged()
    executor = Executor(wedged, clock=lambda: now[0], watch_interval=0.01)
    executor.start()
    occupied(executor, gate)
    now[0] = 60.1
    eventually(lambda: wedged.labels)
    assert wedged.labels == ["slow"]
