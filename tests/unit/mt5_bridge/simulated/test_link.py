"""The wire: caps, strangers' bytes, lost links."""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.simulated.link import (
    HEADER_SIZE,
    MAX_FRAME,
    Frames,
    LinkError,
    RemoteError,
    Requester,
    frame_length,
    host_port,
    opened,
    pack,
    unpack,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=10,
)


@pytest.fixture
def ends() -> Iterator[tuple[Frames, socket.socket]]:
    """A link and the bare socket at its other end."""
    ours, theirs = socket.socketpair()
    frames = Frames(ours)
    yield frames, theirs
    frames.close()
    theirs.close()


@given(value=PLAIN)
def test_messages_come_out_as_they_went_in(value: object) -> None:
    frame = pack((7, "verb", value))
    assert frame_length(frame[:HEADER_SIZE]) == len(frame) - HEADER_SIZE
    assert unpack(frame[HEADER_SIZE:]) == (7, "verb", value)


@given(body=st.binary(max_size=200))
def test_garbage_is_a_link_error_and_nothing_else(body: bytes) -> None:
    with contextlib.suppress(LinkError):
        unpack(body)


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**32 - 1])
def test_a_length_beyond_the_cap_is_refused_before_reading(length: int) -> None:
    with pytest.raises(LinkError):
        frame_length(struct.pack("!L", length))


def test_a_frame_that_ends_early_is_a_lost_link(ends: tuple[Frames, socket.socket]) -> None:
    frames, other = ends
    other.sendall(pack((1, True, "value"))[:-2])
    other.close()
    with pytest.raises(LinkError):
        frames.receive()


def test_answers_find_their_question_in_any_order(ends: tuple[Frames, socket.socket]) -> None:
    requester = Requester(ends[0], lambda _: None, lambda _: None)
    other = Frames(ends[1])
    with ThreadPoolExecutor(2) as pool:
        asked = {word: pool.submit(requester.request, word, timeout=10.0) for word in ("one", "two")}
        questions = [other.receive(), other.receive()]
        for number, verb, _ in reversed(questions):
            other.send((number, True, verb.upper()))
        assert {word: answer.result() for word, answer in asked.items()} == {"one": "ONE", "two": "TWO"}
    requester.close()


def test_notices_and_the_end_of_a_link_are_told_without_a_question(ends: tuple[Frames, socket.socket]) -> None:
    notices: list[str] = []
    ended: queue.Queue[Requester] = queue.Queue()
    requester = Requester(ends[0], notices.append, ended.put)
    ends[1].sendall(pack((0, True, "hello")))
    ends[1].close()
    assert ended.get(timeout=10.0) is requester
    assert notices == ["hello"]
    assert requester.closed
    with pytest.raises(LinkError):
        requester.request("ask", timeout=5.0)


def test_an_answer_that_does_not_come_in_time_ends_the_link(ends: tuple[Frames, socket.socket]) -> None:
    requester = Requester(ends[0], lambda _: None, lambda _: None)
    with pytest.raises(LinkError, match="in time"):
        requester.request("ask", timeout=0.01)
    with pytest.raises(LinkError):
        requester.request("ask", timeout=5.0)


def test_a_refusal_carries_code_and_text() -> None:
    with pytest.raises(RemoteError) as caught:
        opened((1, False, (-6, "no")))
    assert (caught.value.code, caught.value.text) == (-6, "no")
    with pytest.raises(LinkError):
        opened((1, False, "no"))


@pytest.mark.parametrize("address", ["", "host", ":80", "host:x", "host:70000"])
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        host_port(address)
