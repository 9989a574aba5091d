"""The hello: one line each way, within its time, and nothing of a stranger's gets further."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge import auth

GOOD = {"v": 1, "token": "t" * 20, "scope": "trade", "epoch": 7, "principal": "user:usr_1"}

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def code_of(hello: auth.Hello, token: str = "t" * 20, epoch: int = 7) -> str | None:
    try:
        auth.check_hello(hello, token, epoch)
    except auth.HelloError as error:
        return error.code
    return None


def hello(**change: Any) -> auth.Hello:
    return auth.parse_hello(json.dumps(GOOD | change).encode())


def test_a_right_hello_passes() -> None:
    assert code_of(hello()) is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": "other"}, "bad_token"),
        ({"epoch": 6}, "stale_epoch"),
        ({"epoch": 8}, "stale_epoch"),
        ({"epoch": 8, "principal": auth.AGENT}, None),
        ({"epoch": 6, "principal": auth.AGENT}, "stale_epoch"),
    ],
)
def test_token_and_epoch_are_compared(change: dict[str, Any], code: str | None) -> None:
    assert code_of(hello(**change)) == code


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(GOOD)), inner, max_size=5),
    max_leaves=8,
)


@given(st.binary(max_size=200) | _json.map(lambda data: json.dumps(data).encode()))
def test_whatever_arrives_is_a_hello_or_malformed(line: bytes) -> None:
    with contextlib.suppress(auth.HelloError):
        auth.parse_hello(line)


def test_nothing_past_the_line_is_read(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"{}\nrest")
    assert auth.read_line(ours) == b"{}\n"
    assert ours.recv(10) == b"rest"


@pytest.mark.parametrize(("sent", "code"), [(b"", "hello_timeout"), (b"slow", "hello_timeout")])
def test_a_line_that_does_not_come_in_time_is_a_timeout(pair: Pair, sent: bytes, code: str) -> None:
    ours, theirs = pair
    theirs.sendall(sent)
    with pytest.raises(auth.HelloError) as refused:
        auth.read_line(ours, timeout=0.02)
    assert refused.value.code == code


def test_a_line_without_end_or_too_long_is_malformed(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"x" * (auth.MAX_LINE + 1))
    with pytest.raises(auth.HelloError) as refused:
        auth.read_line(ours)
    assert refused.value.code == "malformed_hello"


class TestBots:
    def test_a_bot_comes_with_a_token_of_its_own(self) -> None:
        token = auth.bot_token("t" * 20, "bot:bot_1")
        assert code_of(hello(token=token, principal="bot:bot_1")) is None

    @pytest.mark.parametrize("principal", ["agent", "bot:bot_2", "bot:", "user:usr_1"])
    def test_which_is_nobody_elses(self, principal: str) -> None:
        token = auth.bot_token("t" * 20, "bot:bot_1")
        assert code_of(hello(token=token, principal=principal)) == "bad_token"

    def test_nobody_is_a_bot_by_the_workers_own_token(self) -> None:
        assert code_of(hello(principal="bot:bot_1")) == "bad_token"
