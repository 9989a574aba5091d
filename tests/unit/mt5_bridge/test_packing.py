"""Packed structs come back as they were, and bytes that are none are refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge import transport
from mt5_bridge.codec import CodecError
from mt5_bridge.contract import STRUCTS
from mt5_bridge.packing import PackingError, layout_of, unpack, unpack_one
from mt5_bridge.structs import STRUCT_CLASSES
from tests.bridge_doubles import struct

_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=31)
_FITS = {int: st.integers(-(2**63), 2**63 - 1), float: st.floats(allow_nan=False), str: _text, bool: st.booleans()}


@st.composite
def structs(draw: st.DrawFn, name: str) -> Any:
    values = (draw(structs("TradeRequest")) if kind is tuple else draw(_FITS[kind]) for _, kind in STRUCTS[name])
    return STRUCT_CLASSES[name](values)


@given(st.sampled_from(sorted(STRUCTS)).flatmap(lambda name: st.lists(structs(name), min_size=1, max_size=4)))
def test_structs_come_back_equal_and_of_their_types(values: list[Any]) -> None:
    layout = layout_of(values[0])
    assert layout is not None
    packed, one = layout.pack(values), layout.pack_one(values[0])
    assert packed is not None
    assert one is not None
    for before, after in zip(values, unpack(packed), strict=True):
        assert (type(after), after) == (type(before), before)
        assert [type(value) for value in after] == [type(value) for value in before]
    assert unpack_one(one) == values[0]


@pytest.mark.parametrize("length", [1, 30, 1_023, 5_000])
def test_texts_of_any_length_come_back(length: int) -> None:
    account = struct("AccountInfo", name="\N{EURO SIGN}" * length)
    layout = layout_of(account)
    assert layout is not None
    for _ in range(2):
        packed = layout.pack_one(account)
        assert packed is not None
        assert unpack_one(packed) == account


@pytest.mark.parametrize(
    "change", [{"magic": 2**64 - 1}, {"comment": "a\0b"}, {"comment": None}, {"symbol": "\ud800"}, {"ticket": 1.5}]
)
def test_what_does_not_fit_goes_the_general_way_and_arrives(change: dict[str, Any]) -> None:
    fields = {name: kind() for name, kind in STRUCTS["TradePosition"]} | change
    position = STRUCT_CLASSES["TradePosition"](fields.values())
    layout = layout_of(position)
    assert layout is not None
    assert layout.pack_one(position) is None
    if change != {"symbol": "\ud800"}:
        (frame,) = transport.pack_value((position, position), transport.SUCCESS)
        kind, body = frame[4], bytes(frame[transport.FRAME.size :])
        assert transport.unpack_answer(kind, body)[1] == (position, position)


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data: bytes) -> None:
    for reading in (unpack, unpack_one):
        with contextlib.suppress(PackingError):
            reading(data)


@given(st.integers(0, 255), st.binary(min_size=1, max_size=200))
def test_an_answer_is_a_value_or_a_codec_error(kind: int, body: bytes) -> None:
    with contextlib.suppress(CodecError):
        transport.unpack_answer(kind, body)


def test_the_package_s_own_structs_are_packed_by_their_name() -> None:
    class Tick(tuple[Any, ...]):
        __slots__ = ()

    values = tuple(kind() for _, kind in STRUCTS["Tick"])
    layout = layout_of(Tick(values))
    assert layout is not None
    packed = layout.pack_one(Tick(values))
    assert packed is not None
    assert type(unpack_one(packed)) is STRUCT_CLASSES["Tick"]
