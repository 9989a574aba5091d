"""A packed trade request is what the package would have sent; what it refuses is never packed, nor read from bytes."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.arguments import REQUEST, parse
from mt5_bridge.codec import CodecError
from mt5_bridge.order_packing import pack_order, unpack_order
from mt5_bridge.scalars import MAX_SYMBOL, Parameter

ORDER = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1, "magic": 7, "comment": "ma"}
_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=MAX_SYMBOL)
_ascii = st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=MAX_SYMBOL)


def values_of(parameter: Parameter) -> st.SearchStrategy[Any]:
    if parameter.is_text:
        return _ascii
    if not parameter.bits:
        return st.floats(allow_nan=False)
    low = -(2 ** (parameter.bits - 1)) if parameter.signed else 0
    return st.integers(low, 2 ** (parameter.bits - parameter.signed) - 1)


_requests = st.lists(st.sampled_from(REQUEST), min_size=1, unique=True).flatmap(
    lambda chosen: st.fixed_dictionaries({parameter.name: values_of(parameter) for parameter in chosen})
)


def as_parsed(request: dict[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = parse("order_send", (request,), {})[0][0]
    return parsed


@given(_requests, _text)
def test_a_request_of_any_fields_comes_out_as_the_package_reads_it(request: dict[str, Any], order_id: str) -> None:
    packed = pack_order(request, order_id)
    assert packed is not None
    request_back, id_back = unpack_order(packed)
    assert (request_back, id_back) == (as_parsed(request), order_id)
    assert list(request_back) == list(as_parsed(request))
    assert [type(value) for value in request_back.values()] == [type(request[name]) for name in request_back]


@pytest.mark.parametrize(
    "change",
    [
        {"comment": "\N{GRINNING FACE}" * 15},
        {"volume": 1},
        {"volume": "0.1"},
        {"volume": None},
        {"action": 1.0},
        {"action": True},
        {"action": -1},
        {"action": 2**32},
        {"magic": 2**64},
        {"expiration": -(2**63) - 1},
        {"symbol": "x" * (MAX_SYMBOL + 1)},
        {"symbol": b"EURUSD"},
        {"comment": "a\0b"},
        {"comment": "\ud800"},
        {"colour": 1},
        {5: 1},
    ],
)
def test_what_is_not_exactly_right_goes_the_general_way(change: dict[Any, Any]) -> None:
    assert pack_order(ORDER, "") is not None
    assert pack_order({**ORDER, **change}, "") is None


@pytest.mark.parametrize(("request_", "order_id"), [({}, ""), (ORDER, "a\0b"), (ORDER, "\ud800")])
def test_an_empty_request_and_an_id_that_does_not_fit_go_the_general_way(
    request_: dict[str, Any], order_id: str
) -> None:
    assert pack_order(request_, order_id) is None


_strangers = st.builds(
    lambda fields, rest: struct.pack("<I", fields) + rest, st.integers(0, 2**18), st.binary(max_size=120)
)


@given(st.binary(max_size=120) | _strangers)
def test_bytes_of_a_stranger_give_a_request_of_the_package_or_nothing(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        request, _ = unpack_order(data)
        assert repr(as_parsed(request)) == repr(request)  # repr, for a NaN equals nothing


@pytest.mark.parametrize("too_long", [True, False])
def test_a_text_too_long_or_too_many_is_refused_in_bytes_too(too_long: bool) -> None:
    packed = pack_order(ORDER, "")
    assert packed is not None
    longer = packed.replace(b"EURUSD", b"E" * (MAX_SYMBOL + 1)) if too_long else packed + b"\0more"
    with pytest.raises(CodecError):
        unpack_order(longer)
