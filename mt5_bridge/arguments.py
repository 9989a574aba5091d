"""The package's own checking of arguments, so that a wrong call fails here exactly as it fails there.

`parse` gives the arguments in one plain form (dates as whole seconds, numbers as int and float, a trade request as one
dict) or raises: RejectedError where the package answers with an error value and `last_error()`, TypeError and
SystemError where the package raises. Arguments are checked before the link (rule A5). Of several wrong ones the first
in the package's own order is told, which is not that of the caller. Rule numbers are those of the behaviour notes that
the conformance tests follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from mt5_bridge.contract import FUNCTIONS, Style
from mt5_bridge.scalars import MAX_SYMBOL, Parameter, Slot, UnreadableDateError, c_name, date, text, unsigned

INVALID_PARAMS: Final = -2
NO_CONNECTION: Final = (-10004, "No IPC connection")
INCOMPATIBLE: Final = (
    -5,
    "Terminal: Incompatible versions, please install the latest version of Terminal and Python module",
)
SUCCESS: Final = (1, "Success")

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]
Parsed = tuple[Args, dict[str, Any]]

_FALSE_ON_ERROR: Final = frozenset({"initialize", "login", "symbol_select", "symbols_get"})
_ORDINALS: Final = ("1st", "2nd", "3rd")
_MAX_PATH: Final = 257
_MAX_WORD: Final = 253
_MAX_GROUP: Final = 1997
"""UTF-16 units of a path, of a password or server name, of a group filter."""


class RejectedError(Exception):
    """The package would give `value` and leave `error` in last_error()."""

    def __init__(self, value: object, error: tuple[int, str]) -> None:
        super().__init__(error[1])
        self.value = value
        self.error = error


def failure_value(function: str) -> object:
    """What a function gives for a bad argument: False or None."""
    return False if function in _FALSE_ON_ERROR else None


def unconnected(function: str) -> tuple[object, tuple[int, str]]:
    """What a function gives without a link, and what last_error() says then (B3, B4)."""
    if function == "version":
        return (0, 0, ""), NO_CONNECTION
    if function in {"market_book_add", "market_book_release"}:
        return False, SUCCESS
    if function == "shutdown":
        return True, SUCCESS
    if function in {"symbols_get", "symbols_total"}:
        return None, INCOMPATIBLE  # B18: no terminal has no build
    return (False if function in {"symbol_select", "login"} else None), NO_CONNECTION


def parse(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    """Check a call as the package does.

    Raises RejectedError, TypeError or SystemError; KeyError when there is no such C function. A SystemError that the
    package explains in last_error() as well has that text as a note.
    """
    style = FUNCTIONS[function].style
    if style is Style.PYTHON:
        raise KeyError(function)
    name = f"MetaTrader5._core.{function}" if style is Style.NONE else function
    if style is not Style.KEYWORDS and kwargs:
        raise TypeError(f"{name}() takes no keyword arguments")
    if style is Style.NONE:
        if args:
            raise TypeError(f"{name}() takes no arguments ({len(args)} given)")
        return (), {}
    if style is Style.POSITIONAL:
        return _positional(function, args), {}
    return _PARSERS[function](function, args, kwargs)


# TRUTH slots are the optional ones.
_SLOTS: Final[dict[str, tuple[Slot, ...]]] = {
    "symbol_info": (Slot.SYMBOL,),
    "symbol_info_tick": (Slot.SYMBOL,),
    "symbol_select": (Slot.SYMBOL, Slot.TRUTH),
    "market_book_add": (Slot.SYMBOL,),
    "market_book_release": (Slot.SYMBOL,),
    "market_book_get": (Slot.SYMBOL,),
    "copy_rates_from": (Slot.SYMBOL, Slot.INT, Slot.DATE, Slot.INT),
    "copy_rates_from_pos": (Slot.SYMBOL, Slot.INT, Slot.INT, Slot.INT),
    "copy_rates_range": (Slot.SYMBOL, Slot.INT, Slot.DATE, Slot.DATE),
    "copy_ticks_from": (Slot.SYMBOL, Slot.DATE, Slot.INT, Slot.INT),
    "copy_ticks_range": (Slot.SYMBOL, Slot.DATE, Slot.DATE, Slot.INT),
    "order_calc_margin": (Slot.INT, Slot.SYMBOL, Slot.FLOAT, Slot.FLOAT),
    "order_calc_profit": (Slot.INT, Slot.SYMBOL, Slot.FLOAT, Slot.FLOAT, Slot.FLOAT),
    "history_orders_total": (Slot.DATE, Slot.DATE),
    "history_deals_total": (Slot.DATE, Slot.DATE),
}


def _positional(function: str, args: Args) -> Args:
    slots = _SLOTS[function]
    fewest = len(slots) - slots.count(Slot.TRUTH)
    if not fewest <= len(args) <= len(slots):
        raise _invalid(function, "Invalid arguments")  # A6
    used = slots[: len(args)]
    if function.startswith("order_calc_"):
        args = (_any_int(function, args[0]), *args[1:])
    # Numbers are read before any symbol or date is looked at.
    plain = [_number(function, slot, value) for slot, value in zip(used, args, strict=True)]
    if any(slot is Slot.SYMBOL and not text(value) for slot, value in zip(used, plain, strict=True)):
        raise _invalid(function, "Invalid arguments")  # A6, A9
    if Slot.DATE in used:
        dates = _dates(function, tuple(value for slot, value in zip(used, plain, strict=True) if slot is Slot.DATE))
        dates.settle(function)
        seconds = iter(dates.seconds)
        plain = [next(seconds) if slot is Slot.DATE else value for slot, value in zip(used, plain, strict=True)]
    return tuple(str(value) if slot is Slot.SYMBOL else value for slot, value in zip(used, plain, strict=True))


def _any_int(function: str, value: object) -> int:
    """The first argument of order_calc_*: an int of any size, of which 32 bits are used."""
    if not isinstance(value, int):
        name = "None" if value is None else c_name(type(value))
        raise _system_error(function, "Invalid arguments") from TypeError(f"argument 1 must be int, not {name}")
    return (int(value) + 2**31) % 2**32 - 2**31


def _number(function: str, slot: Slot, value: object) -> Any:
    """A numeric slot's value; other slots' as it is."""
    try:
        return slot.number(value)
    except Exception as error:  # whatever the value's own methods raise
        raise _system_error(function, "Invalid arguments") from error  # A7


class _Dates(NamedTuple):
    """Seconds of date arguments. A date that overflows is noticed only when the function returns (C2)."""

    seconds: tuple[float, ...]
    overflow: OverflowError | None

    def settle(self, function: str, last_error: str = "") -> None:
        """Raise what is overdue; `last_error` is what the call leaves in last_error(), '' for what it would have."""
        if self.overflow is not None:
            raise _system_error(function, last_error) from self.overflow


def _dates(function: str, values: Args) -> _Dates:
    found = _Dates((), None)
    for value in values:
        if isinstance(value, datetime):  # its methods fail where an exception is overdue
            found.settle(function, "Invalid arguments")
        try:
            found = _Dates((*found.seconds, date(value)), found.overflow)
        except OverflowError as error:
            found = _Dates((*found.seconds, -1), error)
        except UnreadableDateError as error:
            raise _system_error(function, "Invalid arguments") from error.__cause__
        except TypeError as error:
            found.settle(function, "Invalid arguments")
            raise _invalid(function, "Invalid arguments") from error
    return found


def _initialize(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if len(args) > 1:
        raise _invalid(function, "Invalid number of arguments")  # B6
    if args and not text(args[0], _MAX_PATH):
        raise _invalid_position(function, 0)
    known: dict[str, Any] = {}
    if "login" in kwargs:
        known["login"] = _keyword_int(function, "login", kwargs["login"])
    known |= _known(function, kwargs, {"server": _MAX_WORD, "password": _MAX_WORD})
    if "timeout" in kwargs:
        known["timeout"] = _keyword_int(function, "timeout", kwargs["timeout"])
    known |= _known(function, kwargs, {"path": _MAX_PATH})
    if "portable" in kwargs:
        try:
            known["portable"] = bool(kwargs["portable"])
        except Exception as error:  # whatever the value's own method raises
            raise _system_error(function, "") from error
    return args, known


def _login(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if len(args) > 3:
        raise _invalid(function, "Invalid number of arguments")
    login = _login_of(function, args[0], "Invalid 1st unnamed argument") if args else 0
    for position, value in enumerate(args[1:], start=1):
        if not text(value, _MAX_WORD):
            raise _invalid_position(function, position)
    if "login" in kwargs:  # keywords beat positions
        login = _login_of(function, kwargs["login"], 'Invalid "login" argument')
    known: dict[str, Any] = dict(zip(("password", "server"), map(str, args[1:]), strict=False))
    known |= _known(function, kwargs, {"server": _MAX_WORD, "password": _MAX_WORD})
    if "timeout" in kwargs:
        known["timeout"] = _keyword_int(function, "timeout", kwargs["timeout"])
    if not login:
        raise _invalid_name(function, "login")  # B11
    return (login,), known


def _login_of(function: str, value: object, message: str) -> int:
    if not isinstance(value, int):
        raise _invalid(function, message)
    try:
        return unsigned(value, 64)
    except OverflowError as error:
        raise _system_error(function, message) from error


def _symbols_get(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if len(args) > 1:
        raise _invalid(function, "Invalid number of arguments")  # D5
    if args and not text(args[0], _MAX_GROUP):
        raise _invalid_position(function, 0)
    known = {"group": str(args[0])} if args else {}
    return (), known | _known(function, kwargs, {"group": _MAX_GROUP})


def _open_get(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if args:
        raise _invalid(function, "Unnamed arguments not allowed")  # W1
    if "ticket" in kwargs:  # the first of the three is taken, and the others are not looked at
        return (), {"ticket": _keyword_int(function, "ticket", kwargs["ticket"])}
    limits = {"symbol": MAX_SYMBOL} if "symbol" in kwargs else {"group": _MAX_GROUP}
    return (), _known(function, kwargs, limits)


def _history_get(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    by_number = [name for name in ("ticket", "position") if name in kwargs]  # ticket beats position (W4)
    if len(args) == 2:
        return _history_between(function, args, kwargs)
    if not by_number:
        raise _invalid(function, "Invalid arguments")
    if args:
        raise _invalid(function, "Unnamed arguments not allowed")
    return (), {by_number[0]: _keyword_int(function, by_number[0], kwargs[by_number[0]])}


def _history_between(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    dates = _dates(function, args)
    try:
        known = _known(function, kwargs, {"group": _MAX_GROUP})
    except RejectedError as rejected:
        dates.settle(function, rejected.error[1])
        raise
    dates.settle(function)
    return dates.seconds, known


REQUEST: Final[tuple[Parameter, ...]] = (
    Parameter("action", 32),
    Parameter("magic", 64),
    Parameter("order", 64),
    Parameter("symbol", is_text=True),
    Parameter("volume"),
    Parameter("price"),
    Parameter("stoplimit"),
    Parameter("sl"),
    Parameter("tp"),
    Parameter("deviation", 64),
    Parameter("type", 32),
    Parameter("type_filling", 32),
    Parameter("type_time", 32),
    Parameter("expiration", 64, signed=True),
    Parameter("comment", is_text=True),
    Parameter("position", 64),
    Parameter("position_by", 64),
)


def _request(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if args and kwargs:
        raise _invalid(function, "Unnamed arguments not allowed")  # I1
    if len(args) > 1 or not (args or kwargs):
        raise _invalid(function, "Invalid number of arguments")
    if args and not isinstance(args[0], dict):
        raise _invalid(function, "Invalid arguments")
    given: Mapping[Any, Any] = args[0] if args else kwargs
    request: dict[str, Any] = {}
    for parameter in REQUEST:  # unknown keys are ignored (I2)
        if parameter.name not in given:
            continue
        try:
            request[parameter.name] = parameter.convert(given[parameter.name])
        except OverflowError as error:
            raise _system_error(function, f'Invalid "{parameter.name}" argument') from error  # A8
        except (TypeError, ValueError) as error:
            raise _invalid_name(function, parameter.name) from error  # I3
    return (request,), {}


_PARSERS: Final[dict[str, Callable[[str, Args, Kwargs], Parsed]]] = {
    "initialize": _initialize,
    "login": _login,
    "symbols_get": _symbols_get,
    "orders_get": _open_get,
    "positions_get": _open_get,
    "history_orders_get": _history_get,
    "history_deals_get": _history_get,
    "order_check": _request,
    "order_send": _request,
}


def _known(function: str, kwargs: Kwargs, limits: Mapping[str, int]) -> dict[str, Any]:
    """The text keywords that the function knows; unknown keywords are ignored (A4)."""
    found: dict[str, Any] = {}
    for name, limit in limits.items():
        if name in kwargs:
            if not text(kwargs[name], limit):
                raise _invalid_name(function, name)
            found[name] = str(kwargs[name])
    return found


def _keyword_int(function: str, name: str, value: object) -> int:
    if not isinstance(value, int):
        raise _invalid_name(function, name)
    try:
        return unsigned(value, 32 if name == "timeout" else 64)
    except OverflowError as error:
        raise _system_error(function, f'Invalid "{name}" argument') from error


def _invalid(function: str, message: str) -> RejectedError:
    return RejectedError(failure_value(function), (INVALID_PARAMS, message))


def _invalid_name(function: str, name: str) -> RejectedError:
    return _invalid(function, f'Invalid "{name}" argument')


def _invalid_position(function: str, index: int) -> RejectedError:
    return _invalid(function, f"Invalid {_ORDINALS[index]} unnamed argument")


def _system_error(function: str, last_error: str) -> SystemError:
    """The package's own error; `last_error` is the text that it leaves as well, '' for none."""
    error = SystemError(f"<built-in function {function}> returned a result with an exception set")
    if last_error:
        error.add_note(last_error)
    return error


def left_by(error: SystemError, otherwise: tuple[int, str]) -> tuple[int, str]:
    """What last_error() says after a SystemError of `parse`; `otherwise` is what the call itself would have left."""
    notes = getattr(error, "__notes__", [])
    return (INVALID_PARAMS, notes[0]) if notes else otherwise
