"""Ticks pushed to subscribers: each once, in order, from one reading of the terminal, over any break."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from mt5_bridge.client.ticks import TickStream
from mt5_bridge.structs import TICKS_DTYPE, Tick
from tests.bridge_doubles import TOKEN, RunningWorker, StubBackend, eventually, running_worker


class TickingBackend(StubBackend):
    """Has ticks that a test adds; several may share a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = np.zeros(0, TICKS_DTYPE)
        self.add(1_000_000, 1)

    def add(self, msc: int, count: int) -> None:
        rows = np.zeros(count, TICKS_DTYPE)
        rows["time_msc"], rows["time"] = msc, msc // 1000
        rows["bid"] = len(self.ticks) + np.arange(count)
        self.ticks = np.concatenate((self.ticks, rows))

    def _symbol_info_tick(self, symbol: str) -> Any:
        return Tick(self.ticks[-1].item()) if symbol == "EURUSD" else None

    def _copy_ticks_from(self, symbol: str, start: int, count: int, flags: int) -> Any:
        return self.ticks[self.ticks["time"] >= start][:count]


@pytest.fixture
def backend() -> TickingBackend:
    return TickingBackend()


@pytest.fixture
def worker(backend: TickingBackend) -> Iterator[RunningWorker]:
    with running_worker(backend) as running:
        yield running


def client(worker: RunningWorker) -> MetaTrader5:
    mt5 = MetaTrader5(worker.address, token=TOKEN, scope="read", epoch=7, principal="user:usr_1")
    eventually(lambda: mt5.describe()["connected"])
    return mt5


def take(stream: TickStream, count: int) -> list[int]:
    """The numbers of the next `count` ticks; the stub counts them in `bid`."""
    numbers: list[int] = []
    deadline = time.monotonic() + 15
    while len(numbers) < count and time.monotonic() < deadline:
        chunk = stream.read(0.2)
        if chunk is not None:
            assert chunk[0] == "EURUSD"
            numbers += [int(bid) for bid in chunk[1]["bid"]]
    return numbers


def test_new_ticks_come_once_and_in_order_even_within_one_millisecond(
    worker: RunningWorker, backend: TickingBackend
) -> None:
    with client(worker) as mt5, mt5.tick_stream("EURUSD") as stream:
        assert stream.read(0.1) is None
        backend.add(1_000_000, 2)
        assert take(stream, 2) == [1, 2]
        backend.add(1_000_000, 1)
        backend.add(1_000_700, 3)
        assert take(stream, 4) == [3, 4, 5, 6]
        assert stream.cursors == {"EURUSD": (1_000_700, 3)}


def test_more_ticks_than_one_reading_holds_come_all(worker: RunningWorker, backend: TickingBackend) -> None:
    with client(worker) as mt5, mt5.tick_stream("EURUSD") as stream:
        backend.add(1_000_500, 12_000)
        backend.add(1_001_500, 25_000)
        assert take(stream, 37_000) == list(range(1, 37_001))


def test_a_cursor_goes_on_where_another_connection_ended(worker: RunningWorker, backend: TickingBackend) -> None:
    with client(worker) as first, first.tick_stream("EURUSD") as stream:
        backend.add(1_000_500, 3)
        take(stream, 3)
        cursors = stream.cursors
    backend.add(1_000_500, 1)
    backend.add(1_002_000, 2)
    with client(worker) as second, second.tick_stream("EURUSD", cursors=cursors) as stream:
        assert take(stream, 3) == [4, 5, 6]


def test_the_terminal_is_read_once_for_all_subscribers(worker: RunningWorker, backend: TickingBackend) -> None:
    clients = [client(worker) for _ in range(5)]
    streams = [mt5.tick_stream("EURUSD") for mt5 in clients]
    backend.calls.clear()
    backend.add(1_003_000, 7)
    assert [take(stream, 7) for stream in streams] == [list(range(1, 8))] * 5
    assert backend.calls.count("copy_ticks_from") == 1
    for mt5 in clients:
        mt5.close()
    eventually(lambda: not worker._worker._terminal.board._feeds)


def test_calls_go_on_over_the_same_connection(worker: RunningWorker, backend: TickingBackend) -> None:
    with client(worker) as mt5, mt5.tick_stream("EURUSD") as stream:
        received: list[int] = []
        reader = threading.Thread(target=lambda: received.extend(take(stream, 200)))
        reader.start()
        for number in range(200):
            backend.add(1_010_000 + number, 1)
            assert mt5.version() == (500, 5000, "01 Jan 2026")
        reader.join(20)
        assert received == list(range(1, 201))


def test_a_slow_subscriber_gets_everything_later_and_holds_nobody_up(
    worker: RunningWorker, backend: TickingBackend
) -> None:
    with client(worker) as slow, client(worker) as quick:
        sleeping, stream = slow.tick_stream("EURUSD"), quick.tick_stream("EURUSD")
        for second in range(30):
            backend.add(1_100_000 + second * 1000, 5_000)
            assert len(take(stream, 5_000)) == 5_000
        assert take(sleeping, 150_000) == list(range(1, 150_001))


def test_a_subscriber_with_much_unread_still_gets_its_calls_answered(
    worker: RunningWorker, backend: TickingBackend
) -> None:
    with client(worker) as mt5:
        mt5.tick_stream("EURUSD")
        for second in range(20):
            backend.add(1_200_000 + second * 1000, 5_000)
            assert mt5.describe()["connected"]
            assert mt5.version() == (500, 5000, "01 Jan 2026")


def test_what_has_no_ticks_is_refused_and_a_lost_worker_is_told(worker: RunningWorker, backend: TickingBackend) -> None:
    with client(worker) as mt5:
        with pytest.raises(BridgeError) as refused:
            mt5.tick_stream("NOPE")
        assert refused.value.code == "no_such_symbol"
        stream = mt5.tick_stream("EURUSD")
        worker.stop()
        with pytest.raises(BridgeLost):
            take(stream, 1)
