"""Arguments are judged as the official package judges them (rules by number)."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mt5_bridge.arguments import NO_CONNECTION, SUCCESS, RejectedError, left_by, parse, unconnected
from mt5_bridge.contract import FUNCTIONS, Style

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1}


def rejected(function: str, *args: Any, **kwargs: Any) -> tuple[object, str]:
    with pytest.raises(RejectedError) as caught:
        parse(function, args, kwargs)
    assert caught.value.error[0] == -2
    return caught.value.value, caught.value.error[1]


@pytest.mark.parametrize("function", [name for name, f in FUNCTIONS.items() if f.style is Style.POSITIONAL])
def test_a2_positional_functions_take_no_keywords(function: str) -> None:
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        parse(function, (), {"symbol": "EURUSD"})


@pytest.mark.parametrize("function", [name for name, f in FUNCTIONS.items() if f.style is Style.NONE])
def test_a3_functions_without_arguments_take_none(function: str) -> None:
    assert parse(function, (), {}) == ((), {})
    with pytest.raises(TypeError):
        parse(function, (1,), {})
    with pytest.raises(TypeError):
        parse(function, (), {"x": 1})


def test_a4_unknown_keywords_are_ignored() -> None:
    assert parse("positions_get", (), {"symbol": "EURUSD", "colour": 1}) == ((), {"symbol": "EURUSD"})


@pytest.mark.parametrize(
    ("function", "args", "value"),
    [
        ("symbol_info", (), None),
        ("symbol_info", (5,), None),
        ("symbol_select", (), False),
        ("symbol_select", ("A", True, 1), False),
        ("copy_rates_from_pos", ("EURUSD", 1, 0), None),
        ("order_calc_margin", (0, 5, 1.0, 1.0), None),
    ],
)
def test_a6_wrong_count_or_symbol_type_is_an_error_value(function: str, args: tuple[Any, ...], value: object) -> None:
    assert rejected(function, *args) == (value, "Invalid arguments")


@pytest.mark.parametrize(
    ("function", "args", "cause"),
    [
        ("copy_rates_from_pos", ("EURUSD", "M1", 0, 1), TypeError),
        ("copy_rates_from_pos", ("EURUSD", 1, 0, 1.0), TypeError),
        ("order_calc_margin", (0, "EURUSD", "much", 1.0), TypeError),
        ("copy_rates_from", ("EURUSD", 1, 2**31, 5), OverflowError),
        ("order_send", ({"action": -1},), OverflowError),
        ("order_send", ({"magic": 2**64},), OverflowError),
    ],
)
def test_a7_a8_c2_wrong_numbers_are_system_errors(function: str, args: Any, cause: type[Exception]) -> None:
    with pytest.raises(SystemError, match=f"<built-in function {function}> returned a result with") as caught:
        parse(function, args, {})
    assert isinstance(caught.value.__cause__, cause)


def test_a9_symbols_and_comments_have_at_most_29_characters() -> None:
    assert parse("symbol_info", ("x" * 29,), {}) == (("x" * 29,), {})
    assert rejected("symbol_info", "x" * 30) == (None, "Invalid arguments")
    assert rejected("order_send", BUY | {"comment": "x" * 30}) == (None, 'Invalid "comment" argument')


def test_a9_letters_beyond_u_ffff_count_twice() -> None:
    assert parse("symbol_info", ("\U0001f600" * 14 + "x",), {}) == (("\U0001f600" * 14 + "x",), {})
    assert rejected("symbol_info", "\U0001f600" * 15) == (None, "Invalid arguments")
    assert rejected("market_book_add", "\U0001f600" * 15) == (None, "Invalid arguments")
    assert rejected("login", 5, "\U0001f600" * 127) == (False, "Invalid 2nd unnamed argument")


def cause_of(function: str, *args: Any, **kwargs: Any) -> tuple[str, tuple[int, str]]:
    with pytest.raises(SystemError) as caught:
        parse(function, args, kwargs)
    return str(caught.value.__cause__), left_by(caught.value, SUCCESS)


@pytest.mark.parametrize(
    ("function", "args", "cause", "last_error"),
    [
        # Numbers are read first, whatever the symbol and the dates are.
        ("copy_rates_from", (5, "x", 1, 1), "'str' object cannot be interpreted as an integer", "Invalid arguments"),
        ("order_calc_margin", (0, 5, b"", 1.0), "must be real number, not bytes", "Invalid arguments"),
        # A date that overflows is noticed when the function returns, unless something else is wrong.
        ("history_deals_get", (2**31, 2), "Python int too large to convert to C long", None),
        ("history_deals_get", (2**31, "x"), "Python int too large to convert to C long", "Invalid arguments"),
        ("order_send", ({"type": -1},), "can't convert negative value to unsigned int", 'Invalid "type" argument'),
        ("order_send", ({"magic": -1},), "can't convert negative int to unsigned", 'Invalid "magic" argument'),
        ("order_send", ({"magic": 2**64},), "int too big to convert", 'Invalid "magic" argument'),
    ],
)
def test_a_system_error_has_the_cause_and_leaves_the_error_that_it_has_there(
    function: str, args: tuple[Any, ...], cause: str, last_error: str | None
) -> None:
    assert cause_of(function, *args) == (cause, (-2, last_error) if last_error else SUCCESS)


def test_the_first_wrong_argument_in_the_package_s_own_order_is_told() -> None:
    assert rejected("initialize", path=5, timeout="x", password=5, server=5, login="x")[1] == 'Invalid "login" argument'
    assert rejected("initialize", path=5, timeout="x", password=5, server=5)[1] == 'Invalid "server" argument'
    assert rejected("initialize", path=5, timeout="x")[1] == 'Invalid "timeout" argument'
    assert rejected("login", 0, timeout="x")[1] == 'Invalid "timeout" argument'
    assert parse("positions_get", (), {"ticket": 5, "symbol": 5, "group": 5}) == ((), {"ticket": 5})
    assert rejected("history_deals_get", 1, ticket=5)[1] == "Unnamed arguments not allowed"
    assert rejected("order_send")[1] == "Invalid number of arguments"


def test_b6_b11_initialize_and_login() -> None:
    assert rejected("initialize", "a", "b")[0] is False
    assert rejected("login", 0) == (False, 'Invalid "login" argument')
    for login in ("5", None, 1.0):
        assert rejected("login", login=login) == (False, 'Invalid "login" argument')
        assert rejected("login", login) == (False, "Invalid 1st unnamed argument")  # as the package itself says
    assert rejected("login") == (False, 'Invalid "login" argument')
    assert parse("login", (5, "secret", "Server"), {}) == ((5,), {"password": "secret", "server": "Server"})


@given(st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)), st.integers(-12, 12))
def test_c2_aware_datetimes_are_the_true_instant_cut_to_seconds(moment: datetime, hours: int) -> None:
    zone = timezone(timedelta(hours=hours))
    aware = moment.replace(tzinfo=zone)
    args, _ = parse("history_deals_total", (aware, 0), {})
    assert args[0] == int(aware.astimezone(UTC).timestamp())


def test_c2_naive_datetimes_are_local_time_and_other_types_are_refused() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 999)
    assert parse("copy_rates_from", ("EURUSD", 1, moment, 1), {})[0][2] == int(moment.timestamp())
    assert parse("copy_rates_from", ("EURUSD", 1, 12.9, 1), {})[0][2] == 12
    for value in (np.int64(1), "2026", moment.date(), None):
        assert rejected("copy_rates_from", "EURUSD", 1, value, 1) == (None, "Invalid arguments")


def test_c2_floats_and_datetimes_may_have_any_size() -> None:
    for value, seconds in (
        (1e10, 1e10),
        (datetime(2100, 1, 1, tzinfo=UTC), 4102444800.0),
        (datetime(1900, 1, 1, tzinfo=UTC), -2208988800.0),
        (float("nan"), -(2.0**63)),
        (float("inf"), -(2.0**63)),
    ):
        args, _ = parse("history_deals_total", (value, 0), {})
        assert args[0] == seconds
        assert type(args[0]) is float  # for an int of this size would be refused when it is judged again


def test_d5_symbols_get_fails_with_false() -> None:
    assert rejected("symbols_get", "a", "b")[0] is False
    assert rejected("symbols_get", 5)[0] is False
    assert parse("symbols_get", ("*USD*",), {}) == ((), {"group": "*USD*"})


def test_i1_one_dict_or_keywords_but_not_both() -> None:
    assert parse("order_send", (BUY,), {}) == parse("order_send", (), BUY)
    assert rejected("order_send", BUY, action=1) == (None, "Unnamed arguments not allowed")
    assert rejected("order_send", [BUY]) == (None, "Invalid arguments")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("volume", [0.1, np.float64(0.1)], [1, "0.1", None, np.float32(0.1)]),
        ("deviation", [10, True], [10.0, None, np.int64(10), "10"]),
        ("symbol", ["EURUSD"], [5, None, b"EURUSD"]),
        ("expiration", [0, -5], [1.5, datetime(2026, 1, 1)]),
    ],
)
def test_i3_fields_take_their_exact_kinds(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        (request,), _ = parse("order_check", ({field: value},), {})
        assert request == {field: value}
        assert type(request[field]) in {int, float, str}
    for value in bad:
        assert rejected("order_check", {field: value}) == (None, f'Invalid "{field}" argument')


def test_w1_open_orders_and_positions_take_no_positional_argument() -> None:
    assert rejected("positions_get", "EURUSD")[0] is None
    assert rejected("orders_get", ticket="5") == (None, 'Invalid "ticket" argument')


def test_w4_history_takes_two_dates_or_a_ticket_or_a_position() -> None:
    assert rejected("history_deals_get") == (None, "Invalid arguments")
    assert rejected("history_deals_get", group="*") == (None, "Invalid arguments")
    assert parse("history_deals_get", (), {"position": 1, "ticket": 2}) == ((), {"ticket": 2})
    assert parse("history_deals_get", (1, 2), {"position": 1, "group": "*"}) == ((1, 2), {"group": "*"})


def test_b3_b4_what_functions_give_without_a_link() -> None:
    assert unconnected("account_info") == (None, NO_CONNECTION)
    assert unconnected("symbol_select") == (False, NO_CONNECTION)
    assert unconnected("version") == ((0, 0, ""), NO_CONNECTION)
    assert unconnected("market_book_add") == (False, SUCCESS)


_anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.binary(max_size=3)


@given(st.sampled_from(sorted(set(FUNCTIONS) - {"Buy", "Sell", "Close"})), st.lists(_anything, max_size=4))
def test_whatever_is_given_the_answer_is_one_of_the_packages(function: str, args: list[Any]) -> None:
    with contextlib.suppress(RejectedError, TypeError, SystemError):
        parse(function, tuple(args), {})
