"""What a link remembers: the same bytes are the same struct, and nothing else ever is."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge import transport
from mt5_bridge.client.link import Endpoint, Link
from tests.bridge_doubles import struct

TICK = transport.pack_call("symbol_info_tick", ("EURUSD",), {}, {})
ACCOUNT = transport.pack_call("account_info", (), {}, {})
PRICES = st.sampled_from((0.0, -0.0, 1.0, 1.1))
"""Few and alike, so that the same answer comes again and nearly the same one follows it."""
_ANSWERS = st.one_of(
    st.builds(lambda bid, time: (TICK, struct("Tick", bid=bid, time=time)), PRICES, st.integers(0, 2)),
    st.builds(
        lambda equity, name: (ACCOUNT, struct("AccountInfo", equity=equity, name=name)),
        PRICES,
        st.sampled_from(("", "a", "A")),
    ),
)


@contextmanager
def linked() -> Iterator[tuple[Link, Callable[[Any], None]]]:
    """A link, and what makes its worker answer the next call with a value."""
    ours, workers = socket.socketpair()
    workers.setblocking(False)

    class Given(Endpoint):
        def connect(self) -> socket.socket:
            return ours

    def answer(value: Any) -> None:
        with suppress(BlockingIOError):
            workers.recv(1 << 16)  # the calls so far
        workers.sendall(b"".join(transport.pack_value(value, transport.SUCCESS)))

    with closing(workers), closing(Link(Given("unix:/nowhere"))) as link:
        yield link, answer


@given(st.lists(_ANSWERS, max_size=12))
def test_every_answer_is_what_the_worker_sent_whatever_was_sent_before(answers: list[tuple[bytes, Any]]) -> None:
    with linked() as (link, answer):
        for call, value in answers:
            answer(value)
            received, error = link.ask(call, 5.0)
            # By text: 0.0 equals -0.0, and 1 equals 1.0.
            assert (type(received), repr(received), error) == (type(value), repr(value), transport.SUCCESS)


def test_the_same_answer_is_not_built_twice() -> None:
    with linked() as (link, answer):
        received = []
        for bid in (1.1, 1.1, 1.2, 1.2):
            answer(struct("Tick", bid=bid))
            received.append(link.ask(TICK, 5.0)[0])
    first, again, other, other_again = received
    assert first is again
    assert other is other_again
    assert (first.bid, other.bid) == (1.1, 1.2)


def test_the_result_of_an_order_is_not_remembered() -> None:
    order = transport.frame(transport.ORDER, b"an order")
    with linked() as (link, answer):
        for _ in range(2):
            answer(struct("OrderSendResult", retcode=10009, request=struct("TradeRequest")))
            link.ask(order, 5.0)
        assert not link._known


def test_what_is_remembered_is_bounded() -> None:
    with linked() as (link, answer):
        for number in range(300):
            answer(struct("Tick", time=number))
            link.ask(transport.pack_call("symbol_info_tick", (f"S{number}",), {}, {}), 5.0)
        assert 0 < len(link._known) <= 256
        answer(struct("Tick"))
        before = len(link._known)
        link.ask(transport.pack_call("symbol_info_tick", ("X" * 500,), {}, {}), 5.0)
        assert len(link._known) == before
