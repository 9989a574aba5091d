"""What a client can reach: one method, by RPyC or by lean frames; plain values, an allow-list, a scope."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from rpyc.core.service import Service

from mt5_bridge import transport
from mt5_bridge.arguments import SUCCESS, RejectedError, left_by, parse
from mt5_bridge.auth import AGENT
from mt5_bridge.bot_rules import bot_of, own_order_id, rule_for
from mt5_bridge.codec import CodecError, decode, encode
from mt5_bridge.contract import FUNCTIONS, Scope, Style
from mt5_bridge.executor import Executor
from mt5_bridge.guard import parse_guard
from mt5_bridge.guard_watch import GuardWatch
from mt5_bridge.history_digest import deal_msc, deal_text, digests, order_msc, order_text
from mt5_bridge.journal import Journal
from mt5_bridge.order_packing import unpack_order
from mt5_bridge.pulse import Pulse
from mt5_bridge.refusals import RefusedError, terminal_lost
from mt5_bridge.scalars import MAX_SYMBOL
from mt5_bridge.sessions import Session as Wire
from mt5_bridge.terminal_link import Account, TerminalLink
from mt5_bridge.tick_stream import TickBoard
from mt5_bridge.trading import Sender, TradeDesk

log = logging.getLogger(__name__)

Answer = tuple[str, Any, int, str]
Parsed = tuple[str, tuple[Any, ...], dict[str, Any]]

FORWARDED: Final = frozenset(
    name for name, function in FUNCTIONS.items() if function.style is not Style.PYTHON
) - {"initialize", "login", "shutdown", "last_error"}  # fmt: skip
"""Functions that reach the terminal. The link itself is the worker's: no client may re-make or switch it."""
_NOT_FOR_BOTS: Final = frozenset({"farm.journal", "farm.configure", "farm.pulse"})
_DEADLINES: Final = {name: function.deadline for name, function in FUNCTIONS.items()}
MAX_ORDER_ID: Final = 120
_BOOKS: Final = {
    "deals": ("history_deals_get", deal_text, deal_msc),
    "orders": ("history_orders_get", order_text, order_msc),
}
_REMEMBERED_CALLS: Final = 256
_REMEMBERED_BYTES: Final = 100


@dataclass(frozen=True)
class Session:
    """One authenticated connection."""

    session_id: str
    scope: Scope
    epoch: int
    principal: str


@dataclass(frozen=True)
class Terminal:
    """Everything that serves one terminal; shared by its sessions."""

    terminal_id: str
    backend: str
    account: Account
    executor: Executor
    link: TerminalLink
    desk: TradeDesk
    journal: Journal
    board: TickBoard
    started: float
    """time.monotonic() when the worker started."""
    pulse: Pulse
    guard: GuardWatch


class BridgeService(Service):  # type: ignore[misc]  # rpyc has no types
    """One session's view of the terminal. Only `exposed_call` can be reached."""

    def __init__(self, terminal: Terminal, session: Session) -> None:
        super().__init__()
        self._terminal = terminal
        self._session = session
        self._sender = Sender(session.principal, session.epoch)
        self._calls: dict[bytes, Parsed] = {}
        self._farm: dict[str, Callable[..., Any]] = {
            "farm.describe": self._describe,
            "farm.journal": self._journal,
            "farm.outcome": self._outcome,
            "farm.give_up": self._give_up,
            "farm.configure": self._configure,
        }
        self._asking: dict[str, Callable[..., Any]] = {
            "farm.pulse": self._pulse,
            "farm.history_digests": self._history_digests,
        }
        """Of the farm's own, those that ask the terminal."""
        self._streaming: dict[str, Callable[..., Any]] = {
            "farm.subscribe": self._subscribe,
            "farm.unsubscribe": self._unsubscribe,
        }
        self._wire: Wire | None = None

    def opened(self, wire: Wire) -> None:
        """The session that ticks may be sent to."""
        self._wire = wire

    def closed(self) -> None:
        """The session has ended."""
        if self._wire is not None:
            self._terminal.board.unsubscribe(self._wire)

    def exposed_call(self, function: Any, args: Any, kwargs: Any, options: Any) -> Answer:
        """Answer one call as (status, payload, error code, error text); see the client for the reading of it."""
        try:
            call = _text(function), _tuple(args), _pairs(kwargs), _pairs(options)
            if function in self._streaming:
                raise RefusedError("not_allowed", "RPyC clients get no streams")  # noqa: TRY301 - told as all others
            value, error = self._answer(*call)
            return "ok", encode(value), *error
        except Exception as error:  # noqa: BLE001 - told to the client, or logged
            return self._failure(str(function), error)

    def answer(self, body: bytes) -> Iterable[transport.Buffer]:
        """Answer the same call in lean frames."""
        function = "?"
        try:
            call = self._calls.get(body)
            if call is None:
                function, args, kwargs, options = transport.unpack_call(body)
                value, error = self._answer(function, args, kwargs, options, body)
            else:
                function = call[0]
                if self._session.epoch < self._terminal.desk.mandate.epoch:
                    raise _stale()  # noqa: TRY301 - told as all others
                value, error = self._ask(*call)
            return transport.pack_value(value, error)
        except Exception as error:  # noqa: BLE001 - told to the client, or logged
            return (transport.pack_answer(self._failure(function, error)),)

    def order(self, body: bytes) -> Iterable[transport.Buffer]:
        """Answer a call of order_send whose request is packed."""
        try:
            if self._session.epoch < self._terminal.desk.mandate.epoch:
                raise _stale()  # noqa: TRY301 - told as all others
            if self._session.scope is not Scope.TRADE:
                raise _read_only()  # noqa: TRY301 - told as all others
            request, order_id = unpack_order(body)
            value, error = self._terminal.desk.send(self._sender, request, _checked_id(order_id) if order_id else None)
            return transport.pack_value(value, error)
        except Exception as error:  # noqa: BLE001 - told to the client, or logged
            return (transport.pack_answer(self._failure("order_send", error)),)

    def answer_without_terminal(self, body: bytes) -> Iterable[transport.Buffer] | None:
        """The answer to what the bridge knows by itself, None when the terminal has to be asked."""
        try:
            function = transport.unpack_call(body)[0]
        except CodecError:
            function = ""
        # While the terminal is not there, its pulse is known without it: linking to one may take a minute.
        asks = function in self._asking and self._terminal.link.linked
        return None if asks or function in FORWARDED or function in self._streaming else self.answer(body)

    def expired(self, kind: int, body: bytes, waited: float) -> Iterable[transport.Buffer] | None:
        """The refusal of a call that has waited longer than its deadline."""
        try:
            function = "order_send" if kind == transport.ORDER else transport.unpack_call(body)[0]
        except CodecError:
            return None
        if function in FUNCTIONS and waited > FUNCTIONS[function].deadline:
            return (transport.pack_answer(self._failure(function, _waited_too_long())),)
        return None

    def _failure(self, function: str, error: Exception) -> Answer:
        match error:
            case RejectedError():
                return "ok", error.value, *error.error
            case RefusedError():
                log.info("refused %s to %s: %s", function[:40], self._session.principal, error.code)
                return "refused", (error.code, error.message), *SUCCESS
            case CodecError():
                return "refused", ("malformed_call", str(error)), *SUCCESS
            case SystemError():
                return "raise", _described(error), *left_by(error, SUCCESS)
            case TypeError() | ValueError() | OverflowError():
                return "raise", _described(error), *SUCCESS
        log.error("call of %s failed", function[:40], exc_info=error)
        return "refused", ("terminal_lost", "the call failed inside the bridge"), *SUCCESS

    def _answer(
        self,
        function: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        body: bytes | None = None,
    ) -> tuple[Any, tuple[int, str]]:
        self._permit(function)
        own = self._farm.get(function) or self._asking.get(function) or self._streaming.get(function)
        if own is not None:
            return own(*args, **kwargs), SUCCESS
        args, kwargs = parse(function, args, kwargs)
        if function == "order_send":
            return self._send(args[0], options)
        if body is not None and len(body) <= _REMEMBERED_BYTES:
            if len(self._calls) >= _REMEMBERED_CALLS:
                self._calls.clear()
            self._calls[body] = function, args, kwargs
        return self._ask(function, args, kwargs)

    def _send(self, request: Any, options: dict[str, Any]) -> tuple[Any, tuple[int, str]]:
        order_id, trace = _order_id(options), _trace(options)
        if not trace:
            return self._terminal.desk.send(self._sender, request, order_id)
        value = None
        try:
            value, error = self._terminal.desk.send(self._sender, request, order_id)
        finally:  # not before, as that would cost the order time
            told = (getattr(value, name, None) for name in ("retcode", "order", "deal"))
            log.info(
                "order %s of %s, request %s: retcode %s, order ticket %s, deal ticket %s",
                *(order_id, self._sender.principal, trace, *told),
            )
        return value, error

    def _permit(self, function: str) -> None:
        """Whether this session may call the function. Raises RefusedError."""
        self._check_epoch()
        if function in _NOT_FOR_BOTS and bot_of(self._session.principal) is not None:
            raise RefusedError("not_allowed", f"{function} is not for bots")
        if function in self._farm or function in self._asking or function in self._streaming:
            return
        if function not in FORWARDED:
            raise RefusedError("not_allowed", f"{function[:40]} cannot be called through the bridge")
        self._check_scope(function)

    def _check_scope(self, function: str) -> None:
        if FUNCTIONS[function].scope is Scope.TRADE and self._session.scope is not Scope.TRADE:
            raise _read_only()

    def _check_epoch(self) -> None:
        if self._session.epoch < self._terminal.desk.mandate.epoch:
            raise _stale()

    def _ask(self, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[int, str]]:
        """Ask the terminal. On its thread, as all sessions are served there."""
        terminal = self._terminal
        link = terminal.link
        if not link.linked:
            if link.wrong_account:
                raise RefusedError("wrong_account", "another account is signed in to the terminal")
            raise terminal_lost()
        answer = terminal.executor.run_here(function, _DEADLINES[function], link.ask, function, args, kwargs)
        if type(answer[0]) is tuple:
            terminal.desk.observe(answer[0])
        return answer

    def _subscribe(self, symbol: Any, msc: Any = None, count: Any = 0) -> Any:
        if self._wire is None or (msc is not None and type(msc) is not int) or type(count) is not int:
            raise CodecError("farm.subscribe takes a symbol and a cursor of two integers")
        cursor = None if msc is None else (msc, max(0, count))
        return self._terminal.board.subscribe(self._wire, _symbol(symbol), cursor, self._current)

    def _unsubscribe(self, symbol: Any = None) -> Any:
        if self._wire is not None:
            self._terminal.board.unsubscribe(self._wire, None if symbol is None else _symbol(symbol))
        return True

    def _current(self) -> bool:
        return self._session.epoch >= self._terminal.desk.mandate.epoch

    def _describe(self) -> Any:
        terminal = self._terminal
        code, text = terminal.link.error
        return (
            ("terminal_id", terminal.terminal_id),
            ("epoch", terminal.desk.mandate.epoch),
            ("login", terminal.account.login),
            ("server", terminal.account.server),
            ("backend", terminal.backend),
            ("linked", terminal.link.linked),
            ("connected", terminal.link.connected),
            ("wrong_account", terminal.link.wrong_account),
            ("error_code", code),
            ("error_text", text),
            ("uptime", time.monotonic() - terminal.started),
            ("calls", terminal.executor.calls),
            ("journal_sequence", terminal.journal.sequence()),
            ("unsettled", len(terminal.journal.unsettled())),
            ("may_open", self._may_open()),
        )

    def _may_open(self) -> bool:
        """False for a bot that is paused or finishing; one on paper has to heed that by itself."""
        try:
            rule = rule_for(self._session.principal, self._terminal.desk.mandate.guard.bots)
        except RefusedError:
            return False
        return rule is None or rule.opens

    def _pulse(self, deals_from: Any) -> Any:
        if type(deals_from) is not int:
            raise CodecError("farm.pulse takes an integer")
        terminal = self._terminal
        facts: dict[str, Any] = {
            "linked": terminal.link.linked,
            "wrong_account": terminal.link.wrong_account,
            "error_code": terminal.link.error[0],
            "journal_sequence": terminal.journal.sequence(),
            "calls": {"counts": terminal.executor.times.counts, "seconds": terminal.executor.times.seconds},
            "guard": terminal.guard.report(),
        }
        if terminal.link.linked and not terminal.link.wrong_account:
            facts |= terminal.pulse.take(lambda function, *args: self._ask(function, args, {})[0], deals_from)
        return json.dumps(facts, separators=(",", ":"))

    def _history_digests(self, subject: Any, date_from: Any, date_to: Any) -> Any:
        if subject not in _BOOKS or type(date_from) is not int or type(date_to) is not int:
            raise CodecError("farm.history_digests takes deals or orders, and two integers")
        function, text, msc = _BOOKS[subject]
        rows = self._ask(function, (date_from, date_to), {})[0]
        return json.dumps(None if rows is None else [[at, *each] for at, each in digests(rows, text, msc).items()])

    def _journal(self, after_sequence: Any, limit: Any) -> Any:
        if type(after_sequence) is not int or type(limit) is not int:
            raise CodecError("farm.journal takes two integers")
        return tuple(entry.pairs() for entry in self._terminal.journal.after(after_sequence, limit))

    def _outcome(self, client_order_id: Any) -> Any:
        self._check_own(_text(client_order_id))
        entry = self._terminal.journal.get(client_order_id)
        return None if entry is None else entry.pairs()

    def _give_up(self, client_order_id: Any) -> Any:
        self._check_scope("order_send")
        self._check_own(_checked_id(client_order_id))
        sender = self._sender
        return self._terminal.journal.give_up(_checked_id(client_order_id), sender.principal, sender.epoch).pairs()

    def _check_own(self, order_id: str) -> None:
        if not own_order_id(self._session.principal, order_id):
            raise RefusedError("not_allowed", "a bot may ask for its own orders only")

    def _configure(self, configuration: Any) -> Any:
        if self._session.principal != AGENT:
            raise RefusedError("not_allowed", "only the node's agent may configure a worker")
        try:
            data = json.loads(_text(configuration))
            guard = parse_guard(data["guard"]) if "guard" in data else None
            epoch = data.get("epoch")
            if epoch is not None and type(epoch) is not int:
                raise ValueError("epoch must be an integer")  # noqa: TRY301 - one error for bad configuration
        except (ValueError, TypeError, AttributeError) as error:
            raise CodecError(f"bad configuration: {error}") from error
        self._terminal.desk.configure(guard, epoch)
        mandate = self._terminal.desk.mandate
        log.info("configured: epoch %d, guard %s", mandate.epoch, mandate.guard)
        return True


class SessionHandler:
    """Answers the frames of one session: lean calls by the service itself, RPyC by a connection around it."""

    def __init__(self, service: BridgeService, on_closed: Callable[[], None]) -> None:
        self._service = service
        self._on_closed = on_closed
        self._connection: transport.ServedConnection | None = None
        self.opened = service.opened
        self.call = service.answer
        self.order = service.order
        self.call_without_terminal = service.answer_without_terminal
        self.expired = service.expired

    def rpyc(self, session: Wire, body: bytes) -> None:
        """Serve a message of a stock RPyC client."""
        if self._connection is None:
            channel = transport.AnsweringChannel(session.send, session.close)
            self._connection = transport.ServedConnection(self._service, channel, transport.RESTRICTED)
        self._connection.handle(body)

    def closed(self) -> None:
        """The session has ended."""
        self._service.closed()
        self._on_closed()


def _read_only() -> RefusedError:
    return RefusedError("read_only_ticket", "this session may read and not trade")


def _waited_too_long() -> RefusedError:
    return RefusedError("deadline", "the call waited too long for its turn; nothing was done")


def _stale() -> RefusedError:
    return RefusedError("stale_epoch", "the terminal has been assigned anew since this session began")


def _text(value: Any) -> str:
    if type(value) is not str:
        raise CodecError("expected a text")
    return value


def _symbol(value: Any) -> str:
    if len(_text(value)) > MAX_SYMBOL:
        raise CodecError("no symbol is so long")
    return str(value)


def _tuple(value: Any) -> tuple[Any, ...]:
    if type(value) is not tuple:
        raise CodecError("expected a tuple")
    return tuple(decode(item) for item in value)


def _pairs(value: Any) -> dict[str, Any]:
    if type(value) is not tuple or not all(type(pair) is tuple and len(pair) == 2 for pair in value):
        raise CodecError("expected pairs")
    return {_text(key): decode(item) for key, item in value}


def _order_id(options: dict[str, Any]) -> str | None:
    order_id = options.get("client_order_id")
    return None if order_id is None else _checked_id(order_id)


def _trace(options: dict[str, Any]) -> str:
    trace = options.get("trace", "")
    if not isinstance(trace, str) or len(trace) > MAX_ORDER_ID or not trace.isprintable():
        raise CodecError(f"trace must be at most {MAX_ORDER_ID} printable characters")
    return trace


def _checked_id(order_id: Any) -> str:
    if not isinstance(order_id, str) or not 0 < len(order_id) <= MAX_ORDER_ID or not order_id.isprintable():
        raise CodecError(f"client_order_id must be 1 to {MAX_ORDER_ID} printable characters")
    return order_id


def _described(error: BaseException) -> tuple[str, str, str, str]:
    cause = error.__cause__
    return type(error).__name__, str(error), "" if cause is None else type(cause).__name__, str(cause or "")
