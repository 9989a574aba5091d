"""Orders through a link that breaks: executed at most once, and the terminal finds out which it was."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mt5_bridge.simulated.link import HEADER_SIZE, frame_length, host_port, unpack

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}


class Proxy:
    """Passes frames on between terminal and broker, and loses the next trade request or its answer when told to."""

    def __init__(self, broker: str) -> None:
        self._broker = host_port(broker)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.lose = ""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._broker)
                for source, target, name in ((near, far, "request"), (far, near, "answer")):
                    threading.Thread(target=self._pump, args=(source, target, name), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError, ConnectionError), source.makefile("rb") as reader:
            while header := reader.read(HEADER_SIZE):
                body = reader.read(frame_length(header))
                if self.lose == name and self._is_trade(name, unpack(body)):
                    self.lose = ""
                    break
                target.sendall(header + body)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _is_trade(name: str, message: Any) -> bool:
        if name == "request":
            return bool(message[1] == "send")
        return isinstance(message[2], tuple) and message[2][:2] == ("s", "OrderSendResult")

    def close(self) -> None:
        """Accept no more."""
        self._listener.close()


@pytest.fixture
def line(stage: Any) -> Iterator[tuple[Any, Proxy, Any]]:
    """A stage, the proxy in the middle, and a program at the terminal."""
    stage.broker("--speed", "60", "--symbols", "EURUSD")
    stage.admin.create_account(5001, password="secret-pw")
    proxy = Proxy(stage.address)
    stage.terminal(through=proxy.address)
    backend = stage.backend()
    assert backend.call("initialize", (), {}) is True
    yield stage, proxy, backend
    proxy.close()


def test_an_answer_lost_after_the_fill_is_fetched_and_nothing_is_sent_again(line: tuple[Any, Proxy, Any]) -> None:
    stage, proxy, backend = line
    proxy.lose = "answer"
    result = backend.call("order_send", (BUY,), {})
    assert result.retcode == 10009
    assert [deal.ticket for deal in stage.admin.deals(5001)][1:] == [result.deal]


def test_a_request_lost_on_the_way_is_known_not_to_be_executed(line: tuple[Any, Proxy, Any]) -> None:
    stage, proxy, backend = line
    proxy.lose = "request"
    assert backend.call("order_send", (BUY,), {}).retcode == 10031
    assert len(stage.admin.deals(5001)) == 1
    assert backend.call("order_send", (BUY,), {}).retcode == 10009


def test_many_losses_leave_one_deal_for_each_success(line: tuple[Any, Proxy, Any]) -> None:
    stage, proxy, backend = line
    done = []
    for number in range(12):
        proxy.lose = ("answer", "request", "")[number % 3]
        result = backend.call("order_send", (BUY,), {})
        if result.retcode == 10009:
            done.append(result.deal)
    assert len(done) == 8
    assert [deal.ticket for deal in stage.admin.deals(5001)][1:] == done
