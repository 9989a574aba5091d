"""The package's own checking of arguments, so that a wrong call fails here exactly as it fails there.

`parse` gives the arguments in one plain form (dates as whole seconds, numbers as int and float, a trade request as one
dict) or raises: RejectedError where the package answers with an error value and `last_error()`, TypeError and
SystemError where the package raises. Arguments are checked before the link (rule A5). Rule numbers are those of the
behaviour notes that the conformance tests follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from mt5_bridge.contract import FUNCTIONS, Style
from mt5_bridge.scalars import Parameter, Slot, date, text, unsigned

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
_HEAP_TYPE: Final = 1 << 9
_ORDINALS: Final = ("1st", "2nd", "3rd")


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
    if any(slot is Slot.SYMBOL and not text(value) for slot, value in zip(used, args, strict=True)):
        raise _invalid(function, "Invalid arguments")  # A6, A9
    if function.startswith("order_calc_"):
        args = (_any_int(function, args[0]), *args[1:])
    return tuple(_converted(function, slot, value) for slot, value in zip(used, args, strict=True))


def _any_int(function: str, value: object) -> int:
    """The first argument of order_calc_*: an int of any size, of which 32 bits are used."""
    if not isinstance(value, int):
        name = "None" if value is None else _c_name(type(value))
        raise _system_error(function, "Invalid arguments") from TypeError(f"argument 1 must be int, not {name}")
    return (int(value) + 2**31) % 2**32 - 2**31


def _c_name(kind: type) -> str:
    """A type's name as C code sees it: with its module for types written in C, but for the built-in ones."""
    in_python = bool(kind.__flags__ & _HEAP_TYPE)
    return kind.__name__ if in_python or kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def _converted(function: str, slot: Slot, value: object) -> Any:
    try:
        return slot.convert(value)
    except OverflowError as error:
        # A date overflows only after the call: last_error() is then the call's own.
        raise _system_error(function, "" if slot is Slot.DATE else "Invalid arguments") from error  # C2
    except TypeError as error:
        raise _system_error(function, "Invalid arguments") from error  # A7
    except ValueError as error:
        raise _invalid(function, "Invalid arguments") from error


def _initialize(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if len(args) > 1:
        raise _invalid(function, "Invalid number of arguments")  # B6
    if args and not text(args[0], 258):
        raise _invalid_position(function, 0)
    known = _known(function, kwargs, {"path": 258, "password": 253, "server": 253})
    if "login" in kwargs:
        known["login"] = _keyword_int(function, "login", kwargs["login"])
    if "timeout" in kwargs:
        known["timeout"] = _keyword_int(function, "timeout", kwargs["timeout"])
    if "portable" in kwargs:
        known["portable"] = bool(kwargs["portable"])
    return args, known


def _login(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if len(args) > 3:
        raise _invalid(function, "Invalid number of arguments")
    login = args[0] if args else kwargs.get("login")
    if args and not isinstance(login, int):
        raise _invalid_position(function, 0)
    if not isinstance(login, int) or not login:
        raise _invalid_name(function, "login")  # B11
    try:
        unsigned(login, 64)
    except OverflowError as error:
        text_ = "Invalid 1st unnamed argument" if args else 'Invalid "login" argument'
        raise _system_error(function, text_) from error
    for position, value in enumerate(args[1:], start=1):
        if not text(value, 253):
            raise _invalid_position(function, position)
    known = _known(function, kwargs, {"server": 253, "password": 253})
    known |= dict(zip(("password", "server"), args[1:], strict=False))
    if "timeout" in kwargs:
        known["timeout"] = _keyword_int(function, "timeout", kwargs["timeout"])
    return (int(login),), known


def _symbols_get(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if len(args) > 1:
        raise _invalid(function, "Invalid number of arguments")  # D5
    if args:
        if not text(args[0], None):
            raise _invalid_position(function, 0)
        return (), {"group": str(args[0])}
    return (), _known(function, kwargs, {"group": None})


def _open_get(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if args:
        raise _invalid(function, "Unnamed arguments not allowed")  # W1
    known = _known(function, kwargs, {"symbol": 29})
    if "ticket" in kwargs:
        known["ticket"] = _keyword_int(function, "ticket", kwargs["ticket"])
    return (), known | _known(function, kwargs, {"group": None})


def _history_get(function: str, args: Args, kwargs: Kwargs) -> Parsed:
    if args:
        if len(args) != 2:
            raise _invalid(function, "Invalid arguments")
        dates = tuple(_history_date(function, value) for value in args)
        return dates, _known(function, kwargs, {"group": None})
    for name in ("ticket", "position"):  # ticket beats position (W4)
        if name in kwargs:
            return (), {name: _keyword_int(function, name, kwargs[name])}
    raise _invalid(function, "Invalid arguments")


def _history_date(function: str, value: object) -> int:
    if not isinstance(value, int | float | datetime):
        raise _invalid(function, "Invalid arguments")
    try:
        return date(value)
    except OverflowError as error:
        raise _system_error(function, "") from error
    except ValueError as error:
        raise _invalid(function, "Invalid arguments") from error


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
    if len(args) > 1:
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


def _known(function: str, kwargs: Kwargs, limits: Mapping[str, int | None]) -> dict[str, Any]:
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


def left_by(error: SystemError) -> tuple[int, str] | None:
    """What last_error() says after a SystemError of `parse`; None for what the call itself would have left."""
    notes = getattr(error, "__notes__", [])
    return (INVALID_PARAMS, notes[0]) if notes else None
