"""The official API of one farm terminal, as an object: the same functions, constants, structs and errors."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from mt5_bridge import transport
from mt5_bridge.arguments import NO_CONNECTION, SUCCESS, Parsed, RejectedError, left_by, parse, unconnected
from mt5_bridge.client import compatibility, orders
from mt5_bridge.client.errors import BridgeError, BridgeLost
from mt5_bridge.client.link import TIMEOUTS, Endpoint, Link
from mt5_bridge.client.ticks import TickStream, as_cursors
from mt5_bridge.contract import CONSTANTS, PACKAGE_AUTHOR, PACKAGE_VERSION
from mt5_bridge.order_packing import pack_order
from mt5_bridge.structs import STRUCT_CLASSES, Struct
from mt5_bridge.transport import FRAME, ORDER

_AUTHORIZATION_FAILED: Final = (-6, "Terminal: Authorization failed")
_IPC_TIMEOUT: Final = (-10005, "IPC timeout")
_NO_TERMINAL: Final = (-10003, "IPC initialize failed, MetaTrader 5 x64 not found")
_DEFAULT_TIMEOUT_MS: Final = 60_000
_POLL_SECONDS: Final = 0.1
_REMEMBERED_CALLS: Final = 256


class MetaTrader5:
    """One terminal of the farm.

    `address` is `host:port` of a gateway (with `ticket`, and `ca`, the PEM text of the farm's authority) or
    `unix:/path` of a local worker (with `token`, `scope`, `epoch`, `principal`). The terminal is run by the farm:
    `initialize`, `login` and `shutdown` only say whether it is there, whether it has that account, and that you are
    done with it.

    Times are those of the package: broker wall clock as seconds since 1970; a naive datetime is local time of this
    machine. Refusals of the bridge raise BridgeError and a broken link raises BridgeLost, unless `compat` is set: then
    they look like the package's own errors. `initialized=False` starts as the package does, unconnected.
    """

    __version__ = PACKAGE_VERSION
    __author__ = PACKAGE_AUTHOR

    if TYPE_CHECKING:  # the constants and struct classes of the package, set below

        def __getattr__(self, name: str) -> Any: ...

    def __init__(
        self,
        address: str,
        *,
        ticket: str | None = None,
        ca: str | None = None,
        server_name: str | None = None,
        token: str | None = None,
        scope: str = "read",
        epoch: int = 0,
        principal: str = "",
        initialized: bool = True,
        compat: bool = False,
    ) -> None:
        self._endpoint = Endpoint(address, ticket, ca, server_name, token, scope, epoch, principal)
        self._compat = compat
        self._initialized = initialized
        self._error: tuple[int, str] = SUCCESS if initialized else (0, "")
        self._frames: dict[tuple[str, tuple[Any, ...]], bytes] = {}
        """The commonest calls, with at most one text, checked and packed."""
        self._reconnecting = threading.Lock()
        self._link = Link(self._endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The terminal goes on running."""
        self._link.close()

    # What only the farm has.

    def describe(self) -> dict[str, Any]:
        """The worker's account of itself: terminal_id, epoch, login, server, connected, uptime (s), calls and more."""
        return dict(self._farm("farm.describe"))

    def journal(self, after_sequence: int = 0, limit: int = 500) -> tuple[dict[str, Any], ...]:
        """Order intents that changed after `sequence`, oldest change first. A row comes again when it changes."""
        return tuple(journal_row(pairs) for pairs in self._farm("farm.journal", after_sequence, limit))

    def pulse(self, deals_from: int) -> dict[str, Any]:
        """What the node's agent watches, in one call; see `mt5_bridge.pulse`."""
        found: dict[str, Any] = json.loads(self._farm("farm.pulse", deals_from))
        return found

    def history_digests(
        self, subject: Literal["deals", "orders"], date_from: int, date_to: int
    ) -> dict[int, tuple[int, str]] | None:
        """Counts and digests of the history by periods, broker wall clock in seconds; see `mt5_bridge.history_digest`.

        None when the terminal had no answer.
        """
        found = json.loads(self._farm("farm.history_digests", subject, date_from, date_to))
        return None if found is None else {at: (count, digest) for at, count, digest in found}

    def outcome(self, client_order_id: str) -> dict[str, Any] | None:
        """The journal row of an order; None when the worker never had it, so it was never sent."""
        pairs = self._farm("farm.outcome", client_order_id)
        return None if pairs is None else journal_row(pairs)

    def give_up(self, client_order_id: str) -> dict[str, Any]:
        """The journal row of an order. One that the worker never had is not sent any more, should it still be on its
        way: only so is it certain that it was not executed.
        """
        return journal_row(self._farm("farm.give_up", client_order_id))

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Give the worker a new `guard` and `epoch`. For the node's agent only."""
        self._farm("farm.configure", json.dumps(dict(configuration)))

    def send_once(self, client_order_id: str, request: Mapping[str, Any], trace: str = "") -> Struct | None:
        """order_send under an id of your own: the same id never trades twice, and gives the recorded outcome.

        `trace` is an id under which the caller's own logs have this; the worker's log then has it as well.
        Raises BridgeError outcome_unknown (retryable) while the worker does not know it, id_conflict for another
        request under the same id, not_executed when it is certain that nothing happened.
        """
        result: Struct | None
        if trace:
            options = {"client_order_id": client_order_id, "trace": trace}
            result = self._call("order_send", (dict(request),), {}, options)
        elif type(client_order_id) is str and client_order_id:
            result = self._trade(dict(request), client_order_id)
        else:  # the worker says what is wrong with it
            result = self._call("order_send", (dict(request),), {}, {"client_order_id": client_order_id})
        return result

    def tick_stream(self, *symbols: str, cursors: Mapping[str, Any] | None = None) -> TickStream:
        """Ticks of `symbols` as they come, from now on or from the `cursors` of an earlier stream.

        One stream for each object; the symbols must be in Market Watch. Raises BridgeError, BridgeLost.
        """
        return TickStream(self._link, symbols, as_cursors(cursors))

    # The package's connection functions, as far as a terminal run by the farm has them.

    def initialize(self, *args: Any, **kwargs: Any) -> bool:
        """True when the terminal is connected to its account within `timeout` ms; `login` and `server` must be its."""
        try:
            _, known = self._parsed("initialize", args, kwargs)
        except RejectedError:
            return False
        self._initialized = False
        deadline = time.monotonic() + known.get("timeout", _DEFAULT_TIMEOUT_MS) / 1000
        while True:
            error = self._readiness(known)
            if error is None:
                self._initialized = True
                self._error = SUCCESS
                return True
            if error != _IPC_TIMEOUT or time.monotonic() >= deadline:
                return self._fail(error)
            time.sleep(_POLL_SECONDS)

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """True for the terminal's own account; a farm terminal cannot be switched to another one: False, -6."""
        try:
            position, known = self._parsed("login", args, kwargs)
        except RejectedError:
            return False
        if not self._initialized:
            return self._fail(NO_CONNECTION)
        error = self._readiness({**known, "login": position[0]})
        if error is not None:
            return self._fail(error)
        self._error = SUCCESS
        return True

    def shutdown(self, *args: Any, **kwargs: Any) -> bool:
        """True. Further calls answer as unconnected until `initialize`."""
        parse("shutdown", args, kwargs)
        self._initialized = False
        self._error = SUCCESS
        return True

    def last_error(self, *args: Any, **kwargs: Any) -> tuple[int, str]:
        """Code and text of the latest call of this object."""
        parse("last_error", args, kwargs)
        return self._error

    # The package's other functions. Arguments and answers are those of the package.

    def version(self, *args: Any, **kwargs: Any) -> Any:
        """(500, build, date); (0, 0, '') when unconnected."""
        return self._call("version", args, kwargs)

    def account_info(self, *args: Any, **kwargs: Any) -> Any:
        """AccountInfo or None."""
        return self._call("account_info", args, kwargs)

    def terminal_info(self, *args: Any, **kwargs: Any) -> Any:
        """TerminalInfo or None."""
        return self._call("terminal_info", args, kwargs)

    def symbols_total(self, *args: Any, **kwargs: Any) -> Any:
        """How many symbols the broker offers, or None."""
        return self._call("symbols_total", args, kwargs)

    def symbols_get(self, *args: Any, **kwargs: Any) -> Any:
        """Tuple of SymbolInfo by group filter; False for a bad argument."""
        return self._call("symbols_get", args, kwargs)

    def symbol_info(self, *args: Any, **kwargs: Any) -> Any:
        """SymbolInfo or None."""
        return self._call("symbol_info", args, kwargs)

    def symbol_info_tick(self, *args: Any, **kwargs: Any) -> Any:
        """Tick or None."""
        return self._call("symbol_info_tick", args, kwargs)

    def symbol_select(self, *args: Any, **kwargs: Any) -> Any:
        """Show a symbol in Market Watch, or hide it."""
        return self._call("symbol_select", args, kwargs)

    def market_book_add(self, *args: Any, **kwargs: Any) -> Any:
        """Subscribe to the depth of market."""
        return self._call("market_book_add", args, kwargs)

    def market_book_release(self, *args: Any, **kwargs: Any) -> Any:
        """End the subscription to the depth of market."""
        return self._call("market_book_release", args, kwargs)

    def market_book_get(self, *args: Any, **kwargs: Any) -> Any:
        """Tuple of BookInfo or None."""
        return self._call("market_book_get", args, kwargs)

    def copy_rates_from(self, *args: Any, **kwargs: Any) -> Any:
        """Read-only array of the `count` newest bars up to a date, or None."""
        return self._call("copy_rates_from", args, kwargs)

    def copy_rates_from_pos(self, *args: Any, **kwargs: Any) -> Any:
        """Read-only array of bars counted back from the forming one, or None."""
        return self._call("copy_rates_from_pos", args, kwargs)

    def copy_rates_range(self, *args: Any, **kwargs: Any) -> Any:
        """Read-only array of the bars between two dates, or None."""
        return self._call("copy_rates_range", args, kwargs)

    def copy_ticks_from(self, *args: Any, **kwargs: Any) -> Any:
        """Read-only array of ticks from a date on, or None."""
        return self._call("copy_ticks_from", args, kwargs)

    def copy_ticks_range(self, *args: Any, **kwargs: Any) -> Any:
        """Read-only array of ticks between two dates, or None."""
        return self._call("copy_ticks_range", args, kwargs)

    def orders_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of active orders, or None."""
        return self._call("orders_total", args, kwargs)

    def orders_get(self, *args: Any, **kwargs: Any) -> Any:
        """Tuple of TradeOrder or None."""
        return self._call("orders_get", args, kwargs)

    def positions_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of open positions, or None."""
        return self._call("positions_total", args, kwargs)

    def positions_get(self, *args: Any, **kwargs: Any) -> Any:
        """Tuple of TradePosition or None."""
        return self._call("positions_get", args, kwargs)

    def order_calc_margin(self, *args: Any, **kwargs: Any) -> Any:
        """Margin in account currency, or None."""
        return self._call("order_calc_margin", args, kwargs)

    def order_calc_profit(self, *args: Any, **kwargs: Any) -> Any:
        """Profit in account currency, or None."""
        return self._call("order_calc_profit", args, kwargs)

    def order_check(self, *args: Any, **kwargs: Any) -> Any:
        """OrderCheckResult or None."""
        return self._call("order_check", args, kwargs)

    def order_send(self, *args: Any, **kwargs: Any) -> Any:
        """OrderSendResult or None. Never sent twice by the bridge; see `send_once` for an id of your own."""
        if len(args) == 1 and type(args[0]) is dict and not kwargs:
            return self._trade(args[0], "")
        return self._call("order_send", args, kwargs)

    def history_orders_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of historical orders between two dates, or None."""
        return self._call("history_orders_total", args, kwargs)

    def history_orders_get(self, *args: Any, **kwargs: Any) -> Any:
        """Tuple of TradeOrder of the history, or None."""
        return self._call("history_orders_get", args, kwargs)

    def history_deals_total(self, *args: Any, **kwargs: Any) -> Any:
        """Number of deals between two dates, or None."""
        return self._call("history_deals_total", args, kwargs)

    def history_deals_get(self, *args: Any, **kwargs: Any) -> Any:
        """Tuple of TradeDeal, or None."""
        return self._call("history_deals_get", args, kwargs)

    def Buy(  # noqa: N802 - the package's name
        self, symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None
    ) -> Any:
        """Buy at the market; see the package."""
        return orders.deal(self, CONSTANTS["ORDER_TYPE_BUY"], symbol, volume, price, comment, ticket)

    def Sell(  # noqa: N802 - the package's name
        self, symbol: Any, volume: Any, price: Any = None, *, comment: Any = None, ticket: Any = None
    ) -> Any:
        """Sell at the market; see the package."""
        return orders.deal(self, CONSTANTS["ORDER_TYPE_SELL"], symbol, volume, price, comment, ticket)

    def Close(  # noqa: N802 - the package's name
        self, symbol: Any, *, comment: Any = None, ticket: Any = None
    ) -> bool | str | None:
        """Close positions at the market; see the package."""
        return orders.close(self, symbol, comment, ticket)

    def _call(
        self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Mapping[str, Any] | None = None
    ) -> Any:
        if not kwargs and not options and self._initialized:
            try:
                frame = self._frames.get((function, args))
            except TypeError:  # what cannot be hashed is not remembered
                frame = None
            if frame is not None:
                try:
                    value, self._error = self._link.ask(frame, TIMEOUTS[function])
                except (BridgeError, BridgeLost) as error:
                    return self._failed(function, args, error)
                return value
        try:
            checked, named = self._parsed(function, args, kwargs)
        except RejectedError as rejected:
            return rejected.value
        if not self._initialized:
            value, self._error = unconnected(function)
            return value
        frame = transport.pack_call(function, checked, named, options or {})
        if not kwargs and not options and (not args or (len(args) == 1 and type(args[0]) is str)):
            self._remember((function, args), frame)
        return self._ask(function, checked, frame)

    def _trade(self, request: dict[Any, Any], order_id: str) -> Any:
        """order_send, packed when the request fits; `order_id` is '' for none."""
        body = pack_order(request, order_id) if self._initialized else None
        if body is None:
            return self._call("order_send", (request,), {}, {"client_order_id": order_id} if order_id else None)
        return self._ask("order_send", (request,), FRAME.pack(len(body), ORDER) + body)

    def _ask(self, function: str, args: tuple[Any, ...], frame: bytes) -> Any:
        try:
            value, self._error = self._link.ask(frame, TIMEOUTS[function])
        except (BridgeError, BridgeLost) as error:
            return self._failed(function, args, error)
        return value

    def _parsed(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Parsed:
        """The checked arguments. What `parse` raises has been noted for last_error()."""
        try:
            return parse(function, args, kwargs)
        except RejectedError as rejected:
            self._error = rejected.error
            raise
        except SystemError as error:
            self._error = left_by(error, SUCCESS if self._initialized else unconnected(function)[1])
            raise

    def _remember(self, call: tuple[str, tuple[Any, ...]], frame: bytes) -> None:
        if len(self._frames) >= _REMEMBERED_CALLS:
            self._frames.clear()
        self._frames[call] = frame

    def _failed(self, function: str, args: tuple[Any, ...], error: BridgeError | BridgeLost) -> Any:
        """Raise the error, or tell it as the package does."""
        if not self._compat:
            raise error
        if isinstance(error, BridgeError):
            value, self._error = compatibility.refused(function, error.code, args)
        else:
            value, self._error = compatibility.lost(function)
            self._initialized = False
        return value

    def _farm(self, function: str, *args: Any) -> Any:
        return self._link.call(function, args, {}, {})[0]

    def _readiness(self, wanted: Mapping[str, Any]) -> tuple[int, str] | None:
        """None when the terminal is connected to the wanted account, else the package's error."""
        try:
            if self._link.dead:
                self._reconnect()
            terminal = self.describe()
        except (BridgeError, BridgeLost):
            return _NO_TERMINAL
        if any(wanted.get(name) not in {None, 0, "", terminal[name]} for name in ("login", "server")):
            return _AUTHORIZATION_FAILED
        if terminal["connected"]:
            return None
        # A refused or foreign account will not become right by waiting.
        refused = terminal["wrong_account"] or terminal["error_code"] == _AUTHORIZATION_FAILED[0]
        return _AUTHORIZATION_FAILED if refused else _IPC_TIMEOUT

    def _reconnect(self) -> None:
        with self._reconnecting:
            if self._link.dead:
                self._link = Link(self._endpoint)

    def _fail(self, error: tuple[int, str]) -> bool:
        self._error = error
        return False


def journal_row(pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """A row of the journal as the link brings it, with the request as it was sent."""
    row = dict(pairs)
    row["request"] = json.loads(row["request"])
    return row


for _name, _value in {**CONSTANTS, **STRUCT_CLASSES}.items():
    setattr(MetaTrader5, _name, _value)
