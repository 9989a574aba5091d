"""Many sessions on the one thread of the terminal: a long call, a slow peer, a large answer hold up nobody else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mt5_bridge import transport
from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from mt5_bridge.client.link import Endpoint
from mt5_bridge.contract import FUNCTIONS
from mt5_bridge.sessions import SessionLoop
from mt5_bridge.structs import RATES_DTYPE
from tests.bridge_doubles import LOGIN, TOKEN, RunningWorker, StubBackend, eventually, running_worker

ORDER = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1}


@pytest.fixture
def backend() -> StubBackend:
    return StubBackend()


@pytest.fixture
def worker(backend: StubBackend) -> Iterator[RunningWorker]:
    with running_worker(backend) as running:
        yield running


def client(worker: RunningWorker) -> MetaTrader5:
    mt5 = MetaTrader5(worker.address, token=TOKEN, scope="trade", epoch=7, principal="user:usr_1")
    eventually(lambda: mt5.describe()["connected"])
    return mt5


class Hanging:
    """A call that the terminal does not answer until `end`."""

    def __init__(self, worker: RunningWorker, backend: StubBackend) -> None:
        self.gate = backend.gate = threading.Event()
        self._mt5 = client(worker)
        self.answers: list[Any] = []
        self._thread = threading.Thread(target=self._call)
        self._thread.start()
        eventually(lambda: "symbol_info_tick" in backend.calls)

    def _call(self) -> None:
        self.answers.append(self._mt5.symbol_info_tick("SLEEPY"))

    def end(self) -> None:
        self.gate.set()
        self._thread.join(20)
        self._mt5.close()
        assert self.answers


def test_what_needs_no_terminal_is_answered_while_a_call_hangs(worker: RunningWorker, backend: StubBackend) -> None:
    with client(worker) as mt5:
        hanging = Hanging(worker, backend)
        for _ in range(5):
            assert mt5.describe()["connected"]
            assert mt5.outcome("never") is None
            with pytest.raises(BridgeError, match="not_allowed"):
                mt5._link.call("eval", (), {}, {})
        assert not hanging.answers
        hanging.end()
        assert mt5.account_info().login == LOGIN


def test_calls_that_wait_behind_it_are_answered_in_the_end(worker: RunningWorker, backend: StubBackend) -> None:
    clients = [client(worker) for _ in range(6)]
    hanging = Hanging(worker, backend)
    backend.calls.clear()
    logins: list[int] = []
    threads = [threading.Thread(target=lambda one=one: logins.append(one.account_info().login)) for one in clients]
    for thread in threads:
        thread.start()
    eventually(lambda: sum(session.parked is not None for session in worker._worker._loop._sessions.values()) == 6)
    assert not logins
    hanging.end()
    for thread in threads:
        thread.join(20)
    assert logins == [LOGIN] * 6
    assert len(backend.threads) == 1
    for one in clients:
        one.close()


def test_a_call_that_waits_longer_than_its_deadline_is_refused_and_never_made(
    worker: RunningWorker, backend: StubBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    with client(worker) as mt5:
        hanging = Hanging(worker, backend)
        quick = {"symbols_total": dataclasses.replace(FUNCTIONS["symbols_total"], deadline=0.05)}
        monkeypatch.setattr("mt5_bridge.service.FUNCTIONS", {**FUNCTIONS, **quick})
        with pytest.raises(BridgeError) as refused:
            mt5.symbols_total()
        assert (refused.value.code, refused.value.retryable) == ("deadline", True)
        hanging.end()
        assert "symbols_total" not in backend.calls
        assert mt5.account_info().login == LOGIN


def test_an_order_that_waits_longer_than_its_deadline_is_refused_and_never_written_down(
    worker: RunningWorker, backend: StubBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    with client(worker) as mt5:
        hanging = Hanging(worker, backend)
        quick = {"order_send": dataclasses.replace(FUNCTIONS["order_send"], deadline=0.05)}
        monkeypatch.setattr("mt5_bridge.service.FUNCTIONS", {**FUNCTIONS, **quick})
        with pytest.raises(BridgeError) as refused:
            mt5.send_once("waited", ORDER)
        assert (refused.value.code, refused.value.retryable) == ("deadline", True)
        hanging.end()
        assert "order_send" not in backend.calls
        assert mt5.outcome("waited") is None


@pytest.mark.parametrize("order_id", ["", "x" * 121, "a\0b", 5])
def test_an_id_that_may_not_be_is_refused_and_nothing_is_sent(
    worker: RunningWorker, backend: StubBackend, order_id: Any
) -> None:
    with client(worker) as mt5:
        with pytest.raises(BridgeError, match="malformed_call"):
            mt5.send_once(order_id, ORDER)
        assert "order_send" not in backend.calls


def test_an_order_is_the_same_packed_and_as_a_call(worker: RunningWorker, backend: StubBackend) -> None:
    with client(worker) as mt5:
        packed: Any = mt5.send_once("packed", ORDER)
        general = mt5._call("order_send", (ORDER,), {}, {"client_order_id": "general"})
        assert (type(packed), packed.request) == (type(general), general.request)
        rows = [mt5.outcome(order_id) for order_id in ("packed", "general")]
        assert rows[0]["request"] == rows[1]["request"] == ORDER  # type: ignore[index]
        assert backend.calls.count("order_send") == 2


def test_a_large_answer_is_whole_while_others_call(worker: RunningWorker, backend: StubBackend) -> None:
    backend.bars = np.zeros(300_000, RATES_DTYPE)
    backend.bars["time"] = np.arange(300_000)
    with client(worker) as mt5, client(worker) as other:
        answers: list[Any] = []
        puller = threading.Thread(target=lambda: answers.append(other.copy_rates_from_pos("EURUSD", 1, 0, 300_000)))
        puller.start()
        while not answers:
            assert mt5.account_info().login == LOGIN
        puller.join(20)
        assert np.array_equal(answers[0], backend.bars)


def test_a_large_answer_goes_out_in_small_slices_until_others_are_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, sizes, now = SessionLoop(), list[int](), [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + seconds))
    monkeypatch.setattr("mt5_bridge.sessions.time", clock)

    class Peer:
        def send(self, data: memoryview) -> int:
            sizes.append(len(data))
            loop._answered += len(sizes) in {2, 3}  # others are answered while the second and the third slice go out
            return len(data)

    loop._send_politely(Peer(), memoryview(bytes(16 << 20)))  # type: ignore[arg-type]
    quiet = sizes.index(1 << 20, 2)
    assert sizes[:2] == [1 << 20] * 2
    assert set(sizes[2:quiet]) == {1 << 15}
    assert now[0] == pytest.approx(0.01, abs=2e-4)  # so long after the last answer
    assert set(sizes[quiet:-1]) == {1 << 20}
    assert sum(sizes) == 16 << 20
    loop.close()


def test_the_next_large_answer_is_polite_from_its_start_while_others_are_busy() -> None:
    loop, sizes = SessionLoop(), []

    class Peer:
        def send(self, data: memoryview) -> int:
            sizes.append(len(data))
            return len(data)

    loop._polite_until = float("inf")
    loop._send_politely(Peer(), memoryview(bytes(1 << 18)))  # type: ignore[arg-type]
    assert sizes == [1 << 15] * 8
    loop.close()


def test_a_peer_that_does_not_take_its_array_holds_nobody_up(worker: RunningWorker, backend: StubBackend) -> None:
    backend.bars = np.zeros(300_000, RATES_DTYPE)
    with client(worker) as mt5:
        endpoint = Endpoint(worker.address, token=TOKEN, scope="read", epoch=7, principal="user:usr_1")
        idle = [endpoint.connect() for _ in range(3)]
        for sock in idle:
            sock.sendall(transport.pack_call("copy_rates_from_pos", ("EURUSD", 1, 0, 300_000), {}, {}))
        eventually(lambda: backend.calls.count("copy_rates_from_pos") == 3)
        assert len(mt5.copy_rates_from_pos("EURUSD", 1, 0, 300_000)) == 300_000
        assert mt5.account_info().login == LOGIN
        for sock in idle:
            sock.close()
        eventually(lambda: len(worker._worker._loop) == 1)
        assert mt5.account_info().login == LOGIN


def test_a_large_answer_is_whole_when_calls_and_arrays_alternate(worker: RunningWorker, backend: StubBackend) -> None:
    backend.bars = np.zeros(50_000, RATES_DTYPE)
    backend.bars["time"] = np.arange(50_000)
    with client(worker) as mt5:
        for count in (1, 4_000, 5_000, 50_000, 3, 20_000, 4_370):
            assert np.array_equal(mt5.copy_rates_from_pos("EURUSD", 1, 0, count), backend.bars[-count:])
            assert mt5.version() == (500, 5000, "01 Jan 2026")


def test_sessions_end_with_the_worker(backend: StubBackend) -> None:
    with running_worker(backend) as worker:
        clients = [client(worker) for _ in range(3)]
        worker.stop()
        for one in clients:
            with pytest.raises(BridgeLost):
                one.account_info()
            with contextlib.suppress(BridgeLost):
                one.close()


def test_the_pulse_of_a_terminal_that_is_not_there_is_known_without_it(backend: StubBackend) -> None:
    backend.reachable = False
    gate = backend.gate = threading.Event()
    answer = backend.call

    def slow(function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if function == "initialize":
            gate.wait(30)  # as the package does while no terminal answers
        return answer(function, args, kwargs)

    backend.call = slow  # type: ignore[method-assign]
    with running_worker(backend) as running:
        mt5 = MetaTrader5(running.address, token=TOKEN, scope="read", epoch=7, principal="user:usr_1")
        with mt5:
            assert mt5.pulse(0)["linked"] is False
            assert not gate.is_set()
            gate.set()
            eventually(lambda: mt5.pulse(0)["error_code"] == -10003)
