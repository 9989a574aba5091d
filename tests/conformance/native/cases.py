"""The calls that need no terminal, as expressions: every function with every kind of wrong and odd argument."""

from __future__ import annotations

from collections.abc import Iterator

from mt5_bridge.contract import FUNCTIONS, STRUCTS, Style

VALUES = (
    "None", "True", "0", "1", "-1", "2**31 - 1", "2**31", "-2**31", "-2**31 - 1", "2**32 - 1", "2**32", "2**63 - 1",
    "2**63", "-2**63 - 1", "2**64 - 1", "2**64", "1.0", "1.5", "-1.5", "1e10", "1e300", "math.nan", "math.inf",
    "''", "'x'", "'x' * 29", "'x' * 30", "'x' * 31", "'\u00e9' * 29", "'\u00e9' * 30", "'\u20bf' * 29", "'a\\0b'",
    "'\U0001f600' * 14", "'\U0001f600' * 15", "'\\ud800'", "b'x'", "()", "[]", "{}", "object",
    "np.int32(1)", "np.int64(1)", "np.uint64(1)", "np.float32(1)", "np.float64(1)", "np.bool_(True)", "np.str_('x')",
    "Decimal(1)", "Fraction(1)", "1j",
    "datetime(2026, 1, 5)", "datetime(2026, 1, 5, tzinfo=timezone.utc)", "datetime(1970, 1, 1, tzinfo=timezone.utc)",
    "datetime(1969, 1, 1, tzinfo=timezone.utc)", "datetime(2038, 1, 19, 3, 14, 8, tzinfo=timezone.utc)",
    "datetime(1900, 1, 1, tzinfo=timezone.utc)", "datetime(1969, 1, 1)", "datetime(3001, 1, 1)", "date(2026, 1, 5)",
    "timedelta(1)",
)  # fmt: skip

POSITIONAL = {
    "symbol_info": ("'EURUSD'",),
    "symbol_info_tick": ("'EURUSD'",),
    "symbol_select": ("'EURUSD'", "True"),
    "market_book_add": ("'EURUSD'",),
    "market_book_release": ("'EURUSD'",),
    "market_book_get": ("'EURUSD'",),
    "copy_rates_from": ("'EURUSD'", "1", "1700000000", "10"),
    "copy_rates_from_pos": ("'EURUSD'", "1", "0", "10"),
    "copy_rates_range": ("'EURUSD'", "1", "1700000000", "1700001000"),
    "copy_ticks_from": ("'EURUSD'", "1700000000", "10", "-1"),
    "copy_ticks_range": ("'EURUSD'", "1700000000", "1700001000", "-1"),
    "order_calc_margin": ("0", "'EURUSD'", "1.0", "1.1"),
    "order_calc_profit": ("0", "'EURUSD'", "1.0", "1.1", "1.2"),
    "history_orders_total": ("1700000000", "1700001000"),
    "history_deals_total": ("1700000000", "1700001000"),
}
KEYWORDS = {
    "initialize": ("path", "login", "password", "server", "timeout", "portable"),
    "login": ("login", "password", "server", "timeout"),
    "symbols_get": ("group",),
    "orders_get": ("symbol", "group", "ticket"),
    "positions_get": ("symbol", "group", "ticket"),
    "history_orders_get": ("group", "ticket", "position"),
    "history_deals_get": ("group", "ticket", "position"),
}
REQUEST = tuple(field for field, _ in STRUCTS["TradeRequest"])
# What comes first decides which argument is judged first.
_PAIRS = {
    "initialize": (
        "'x', 'x'", "'x', path='y'", "path='x', login='y'", "login='x', timeout='y'", "'x', colour=1", "'x' * 257",
        "'x' * 258", "path='x' * 257", "path='x' * 258", "path=5, login='x'", "path=5, timeout='x'", "'ő'",
        "password=5, server=5", "login=-1, path=5", "portable=np.array([1, 2])", "portable=np.array([1, 2]), path=5",
    ),
    "login": (
        "5", "5, 'p'", "5, 'p', 's'", "5, 'p', 's', 1", "5, login=6", "'5', 'p'", "5, 6, 7", "5, 'p', 7", "0", "-1",
        "5, password='p', server='s', timeout=1", "5, password=1, server=2", "5, 'x' * 253", "5, 'x' * 254",
        "5, 'p', 'x' * 253", "5, 'p', 'x' * 254", "5, password='x' * 254", "5, server='x' * 254", "2**63, 'p', 's'",
        "2**64, 'p', 's'", "True", "5, colour=1",
        "login='x', server=5", "0, 6", "0, server=5", "timeout=-1", "password=5", "5, 'p', login=0", "0, 'p', login=5",
        "5, 'p', login=-1", "'x', login=5", "login=2**64, password=5",
    ),
    "symbols_get": (
        "'*'", "'*', '*'", "5", "None", "'*', group='*'", "'*', group=5", "'x' * 1997", "'x' * 1998", "colour=1",
    ),
    "orders_get": (
        "'EURUSD'", "symbol='x', ticket='y'", "group=1, ticket='y'", "symbol=1, group=2", "colour=1",
        "ticket=5, symbol=5", "ticket=5, group=5", "symbol='x', group=5", "symbol=5, ticket=-1", "group='x' * 1998",
    ),
    "symbol_select": ("5, np.array([1, 2])", "'x', np.array([1, 2])"),
    "copy_rates_from": ("5, 'x', 1, 1", "5, 1, 2**31, 1", "'EURUSD', 1, 'x', 'y'", "'EURUSD', 1, 2**31, 'y'"),
    "copy_rates_range": (
        "'EURUSD', 1, 2**31, 'x'", "'EURUSD', 1, 'x', 2**31", "'EURUSD', 1, 2**31, datetime(2026, 1, 5)",
        "'EURUSD', 1, datetime(1969, 1, 1), 'x'",
    ),
    "order_calc_margin": ("'x', 5, 'y', 'z'", "0, 5, 'y', 'z'", "0, 'EURUSD', 2**2000, 1.0"),
    "history_orders_get": (
        "1", "1, 2", "1, 2, 3", "'x', 2", "1, 'x'", "None, None", "1, 2, group='*'", "1, 2, group=5", "1, 2, ticket=5",
        "1, 2, ticket='x'", "ticket=1, position='x'", "ticket='x', position=1", "position=1, group=5", "2**31, 1",
        "1, 2**31", "-1, -1", "math.nan, 1", "1, math.inf", "datetime(2026, 1, 5), datetime(2026, 1, 6)",
        "1, 2, 3, ticket=5", "1, ticket=5", "1, group=5", "2**31, 1, group=5", "2**31, 'x'", "'x', 2**31",
        "2**31, datetime(2026, 1, 5)", "datetime(1969, 1, 1), 2**31", "group='x' * 1998", "1, 2, group='x' * 1998",
        "date(2026, 1, 5), 5", "1.5, 2.5", "True, True", "np.int64(1), 2", "np.float64(1), 2", "1, 2, colour=1",
    ),
    "order_send": (
        "{}, {}", "{}, action=1", "5", "None", "()", "[]", "[('action', 1)]", "action=1, volume=1", "colour=1",
        "{'colour': 1}", "{1: 2}", "{'volume': 1, 'action': 'x'}", "{'symbol': 1, 'comment': 2}",
        "dict(action=1, symbol='EURUSD', volume=0.1, type=0, price=1.1, comment='x')",
    ),
}  # fmt: skip
_PAIRS["positions_get"] = _PAIRS["orders_get"]
_PAIRS["history_deals_get"] = _PAIRS["history_orders_get"]
_PAIRS["order_check"] = _PAIRS["order_send"]


def with_earlier_call(expression: str) -> tuple[str, str]:
    """The expression and a call to make before it, whose error it does not have itself."""
    return expression, "mt5.version()" if "symbols_" in expression else "mt5.symbols_total()"


def argument_cases() -> dict[str, list[str]]:
    """Expressions by the thing that varies in them."""
    groups: dict[str, list[str]] = {}
    for name, function in FUNCTIONS.items():
        if function.style is Style.PYTHON:
            continue
        groups[f"{name}, number of arguments"] = [f"mt5.{name}({arguments})" for arguments in _counts(name)]
        for title, calls in _odd_values(name):
            groups[f"{name}, {title}"] = calls
    return groups


def _counts(name: str) -> Iterator[str]:
    if name != "last_error":  # which says what was before
        yield ""
    yield "x=1"
    good = POSITIONAL.get(name, ())
    for count in range(1, len(good) + 2):
        yield ", ".join((*good, "1")[:count])
    if good:
        yield ", ".join((*good, "x=1"))
    if FUNCTIONS[name].style is Style.NONE:
        yield from ("1", "None", "1, 2", "1, x=2")
    yield from _PAIRS.get(name, ())


def _odd_values(name: str) -> Iterator[tuple[str, list[str]]]:
    good = POSITIONAL.get(name, ())
    for index in range(len(good)):
        calls = [", ".join((*good[:index], value, *good[index + 1 :])) for value in VALUES]
        yield f"argument {index + 1}", [f"mt5.{name}({call})" for call in calls]
    first = "5, " if name == "login" else ""
    for keyword in KEYWORDS.get(name, ()):
        before = "" if keyword == "login" else first
        yield f"keyword {keyword}", [f"mt5.{name}({before}{keyword}={value})" for value in VALUES]
    if name in {"initialize", "symbols_get", "login"}:
        yield "argument 1", [f"mt5.{name}({value})" for value in VALUES]
    if name in {"order_check", "order_send"}:
        for field in REQUEST:
            yield f"field {field}", [f"mt5.{name}({{'{field}': {value}}})" for value in VALUES]


def sequence_cases() -> list[str]:
    """Calls one after another in one process: what is left of one for the next."""
    return [
        "(mt5.shutdown(), mt5.last_error(), mt5.version(), mt5.last_error())",
        "(mt5.account_info(), mt5.last_error(), mt5.last_error())",
        "(mt5.initialize('C:\\\\nowhere\\\\terminal64.exe'), mt5.last_error())",
        "mt5.initialize('C:\\\\nowhere\\\\terminal64.exe', portable=True, login=5, password='p', server='s')",
        "(mt5.initialize(), mt5.last_error(), mt5.initialize(), mt5.last_error())",
        "(mt5.login(5, 'p', 's'), mt5.last_error())",
        "(mt5.market_book_add('EURUSD'), mt5.last_error(), mt5.market_book_get('EURUSD'), mt5.last_error())",
        "(mt5.symbols_get(), mt5.last_error(), mt5.symbols_total(), mt5.last_error())",
        "mt5.Buy('EURUSD', 0.1)",
        "mt5.Sell('EURUSD', 0.1)",
        "mt5.Buy('EURUSD', 0.1, 1.1)",
        "mt5.Sell('EURUSD', 1, 1.1)",
        "mt5.Buy('EURUSD', 0.1, 1.1, 'comment')",
        "mt5.Buy('EURUSD', 0.1, 1.1, comment='x' * 30)",
        "mt5.Sell('EURUSD', 0.1, 1.1, ticket='x')",
        "mt5.Close('EURUSD')",
        "mt5.Close('EURUSD', ticket=5)",
        "mt5.Close(5)",
        "mt5.Close('EURUSD', ticket='x')",
    ]


def struct_cases() -> dict[str, list[str]]:
    """What the result structs can do and refuse."""
    groups: dict[str, list[str]] = {}
    for name, fields in STRUCTS.items():
        count = len(fields)
        good = f"mt5.{name}(range({count}))"
        middle = fields[count // 2][0]
        groups[name] = [
            good,
            f"{good}._asdict()",
            *(f"{good}.{field}" for field, _ in fields),
            *(f"mt5.{name}({arguments})" for arguments in _struct_arguments(count)),
            f"pickle.dumps({good})",
            f"pickle.dumps({good}, 2)",
            f"copy.copy({good})",
            f"copy.deepcopy({good})",
            f"{good}.__reduce__()",
            f"setattr({good}, '{middle}', 1)",
            f"setattr({good}, 'colour', 1)",
            f"delattr({good}, '{middle}')",
            f"operator.setitem({good}, 0, 1)",
            f"{good}.colour",
            f"{good}._fields",
            f"{good}._replace",
            f"{good}[0], {good}[-1], {good}[1:3], type({good}[1:3])",
            f"{good}[{count}]",
            f"{good} == tuple(range({count})), hash({good}) == hash(tuple(range({count}))), {good} < (9,)",
            f"type({good} + {good}), {good}.index(1), len({good}), list(reversed({good}))[0]",
            f"str({good}), format({good}, '')",
            f"mt5.{name}([None] * {count}), mt5.{name}([1.5, 'x'] + [()] * {count - 2})",
            f"mt5.{name}.__name__, mt5.{name}.__qualname__, mt5.{name}.__module__, mt5.{name}.__mro__",
            f"mt5.{name}.n_fields, mt5.{name}.n_sequence_fields, mt5.{name}.n_unnamed_fields",
            f"mt5.{name}.__match_args__",
            f"mt5.{name}.__doc__",
            f"type('Mine', (mt5.{name},), {{}})",
            f"isinstance({good}, tuple), np.array([{good}]).shape",
        ]
    return groups


def _struct_arguments(count: int) -> tuple[str, ...]:
    return (
        "",
        "5",
        "None",
        "1, 2, 3",
        "colour=1",
        f"range({count - 1})",
        f"range({count + 1})",
        f"range({count}), {{}}",
        f"range({count}), {{'colour': 1}}",
        f"range({count}), 5",
        f"sequence=range({count})",
        f"sequence=range({count}), dict={{}}",
        f"iter(range({count}))",
        f"'x' * {count}",
    )


def all_cases() -> dict[str, list[str]]:
    """Everything, by what varies."""
    groups = argument_cases() | {"calls one after another": sequence_cases()}
    return groups | {f"struct {name}": cases for name, cases in struct_cases().items()}
