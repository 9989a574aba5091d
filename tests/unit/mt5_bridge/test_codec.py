"""Values cross the link unchanged, and nothing else crosses it."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rpyc.core import brine

from mt5_bridge.codec import MAX_DEPTH, CodecError, decode, encode
from mt5_bridge.contract import STRUCTS
from mt5_bridge.structs import RATES_DTYPE, STRUCT_CLASSES, TICKS_DTYPE, OrderSendResult

plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False) | st.text() | st.binary()
_LEAVES = {int: st.integers(0, 2**64 - 1), float: st.floats(allow_nan=False), str: st.text(), bool: st.booleans()}


@st.composite
def structs(draw: st.DrawFn, name: str | None = None) -> Any:
    kind = name or draw(st.sampled_from(sorted(STRUCTS)))
    fields = STRUCTS[kind]
    return STRUCT_CLASSES[kind](
        draw(structs("TradeRequest")) if leaf is tuple else draw(_LEAVES[leaf]) for _, leaf in fields
    )


@given(plain | structs() | st.tuples(plain, plain) | st.lists(structs("Tick")).map(tuple))
def test_a_value_comes_back_equal_and_of_the_same_type(value: Any) -> None:
    encoded = encode(value)
    assert brine.dumpable(encoded)
    result = decode(brine.load(brine.dump(encoded)))
    assert result == value
    assert type(result) is type(value)


def test_a_nested_request_comes_back_as_a_struct() -> None:
    request = STRUCT_CLASSES["TradeRequest"](kind() for _, kind in STRUCTS["TradeRequest"])
    result = decode(encode(OrderSendResult((10009, 1, 2, 0.1, 1.1, 1.0, 1.2, "ok", 3, 0, request))))
    assert type(result.request) is STRUCT_CLASSES["TradeRequest"]


@pytest.mark.parametrize("dtype", [RATES_DTYPE, TICKS_DTYPE])
@given(rows=st.integers(0, 50))
def test_arrays_come_back_owned_and_read_only(dtype: Any, rows: int) -> None:
    array = np.zeros(rows, dtype)
    array["time"] = np.arange(rows)
    result = decode(encode(array))
    assert np.array_equal(result, array)
    assert (result.dtype, result.flags.writeable, result.flags.owndata) == (array.dtype, False, True)


def test_numbers_of_numpy_that_are_floats_become_floats() -> None:
    assert type(encode(np.float64(0.1))) is float


@pytest.mark.parametrize("value", [object(), [1], {1: 2}, {1, 2}, np.zeros(3), np.zeros((2, 2)), np.int64(1)])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(CodecError):
        encode(value)


_SCALARS = st.none() | st.integers() | st.text(max_size=5) | st.binary(max_size=5)
_TAGGED = st.sampled_from(["t", "d", "s", "l", "a", "Tick", "rates"])
_junk = st.recursive(_SCALARS | _TAGGED, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12)


@given(_junk)
def test_whatever_arrives_is_a_value_or_a_codec_error(data: Any) -> None:
    with contextlib.suppress(CodecError):
        decode(data)


def test_deep_nesting_is_refused() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH + 1):
        value = ("t", (value,))
    with pytest.raises(CodecError):
        decode(value)


def test_field_names_are_where_libraries_look_for_them() -> None:
    for name, cls in STRUCT_CLASSES.items():
        fields = tuple(field for field, _ in STRUCTS[name])
        assert cls.__match_args__ == fields
        assert (cls.n_fields, cls.n_sequence_fields, cls.n_unnamed_fields) == (len(fields), len(fields), 0)
