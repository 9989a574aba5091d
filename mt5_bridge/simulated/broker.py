"""The broker server without its sockets: the market moved by a wall clock, the book, the disk."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

from mt5_bridge.simulated.engine.conventions import USUAL, Conventions
from mt5_bridge.simulated.engine.exchange import Exchange
from mt5_bridge.simulated.engine.model import Account, Quote, Reason
from mt5_bridge.simulated.engine.reopening import split
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Retcode
from mt5_bridge.simulated.faults import FaultKind, FaultRule
from mt5_bridge.simulated.market.clock import FASTEST, MarketClock
from mt5_bridge.simulated.market.market import Market
from mt5_bridge.simulated.passwords import hash_password, verify_password
from mt5_bridge.simulated.quote_board import QuoteBoard
from mt5_bridge.simulated.store import Store
from mt5_bridge.structs import STRUCT_CLASSES, Struct

log = logging.getLogger(__name__)

JUMP_MSC = 3_600_000
"""The clock jumps over a stretch without any tick that is longer than this."""
BATCH_SECONDS = 0.04
_CLOCK_SAVED_EVERY = 1.0
FIRST_LOGIN = 5001
_NO_FAULTS: Final[Mapping[FaultKind, FaultRule]] = MappingProxyType({})
_SETTINGS: Final = frozenset(
    {
        "name",
        "leverage",
        "margin_mode",
        "trade_mode",
        "limit_orders",
        "limit_positions",
        "margin_so_mode",
        "margin_so_call",
        "margin_so_so",
        "trade_allowed",
        "trade_expert",
        "fifo_close",
        "hedge_prohibited",
        "one_time_password",
        "commission_blocked",
    }
)


class Access(Enum):
    """What a password allows: everything, or to look and not to trade."""

    MASTER = "master"
    INVESTOR = "investor"


class BrokerError(Exception):
    """A data folder that does not fit; the text says what to do."""


class Broker:
    """Owns the accounts. All methods are called from one thread, with the wall time (seconds, monotonic) passed in."""

    def __init__(
        self,
        market: Market,
        store: Store,
        *,
        server: str,
        speed: float,
        wall: float,
        conventions: Conventions = USUAL,
        paused: bool = False,
        board: QuoteBoard | None = None,
    ) -> None:
        self.board = board
        self.server = server
        self.company = "MT5 Farm simulated broker"
        self.market = market
        self._store = store
        resume_msc = self._resume()
        self.exchange = Exchange(market.specs, store.load(), resume_msc, conventions)
        self.book = self.exchange.book
        self.clock = MarketClock(resume_msc, speed, wall, paused=paused)
        self._clock_saved = wall
        market.release(resume_msc)
        if board is not None:
            market.publish_to(board)
        for name, series in market.series.items():
            tick = series.last_tick
            if tick is not None:
                quote = Quote(float(tick["bid"]), float(tick["ask"]), int(tick["time_msc"]), float(tick["last"]))
                self.exchange.set_quote(name, quote)

    def _resume(self) -> int:
        """The moment at which the market goes on. Raises BrokerError if the folder belongs to another market."""
        known = self._store.meta("market")
        if known is None:
            self._store.set_meta("market", self.market.identity)
            self._store.save_clock(self.market.start_msc)
        elif known != self.market.identity:
            raise BrokerError(
                f"The data folder holds the books of another market ({known}); "
                "use another --data folder or the same options."
            )
        return int(self._store.meta("clock") or self.market.start_msc)

    @property
    def ended(self) -> bool:
        """Whether the replay has come to its end; nothing is quoted after it."""
        return self.book.halted

    def advance(self, wall: float) -> float:
        """Move the market to the wall time; returns the seconds until it wants to be moved again.

        Raises sqlite3.Error when the disk refuses what has happened.
        """
        if self.clock.paused:
            return BATCH_SECONDS
        upcoming = self._upcoming()
        if upcoming is None:
            return 1.0
        if upcoming - self.book.now_msc > JUMP_MSC:
            self.clock.jump(upcoming, wall)
        if self._move(self.clock.stride(wall, max(self.book.now_msc, upcoming))):
            self._clock_saved = wall
        elif wall - self._clock_saved >= _CLOCK_SAVED_EVERY:
            self._store.save_clock(self.book.now_msc)
            self._clock_saved = wall
        return 0.0 if self.clock.speed == FASTEST else BATCH_SECONDS

    def step(self, wall: float, *, ticks: int = 0, milliseconds: int = 0) -> int:
        """Move the paused market by some ticks (of any symbol) or by market time; returns the market time (ms).

        Ticks of the same millisecond come together and count as one. The market stops at the end of its history.
        Raises BrokerError if it is not paused, sqlite3.Error as `advance` does.
        """
        if not self.clock.paused:
            raise BrokerError("Pause the market before it is stepped.")
        for _ in range(ticks):
            upcoming = self._upcoming()
            if upcoming is None:
                break
            self._move(upcoming)
        target = self.book.now_msc + milliseconds
        while self.book.now_msc < target and self._upcoming() is not None:
            self._move(min(target, self.book.now_msc + JUMP_MSC))
        self._upcoming()
        self.clock.jump(self.book.now_msc, wall)
        self.save_clock()
        return self.book.now_msc

    def _upcoming(self) -> int | None:
        """Time of the next tick; without one the market is halted."""
        upcoming = self.market.next_time_msc()
        if upcoming is None and not self.book.halted:
            self.book.halted = True
            self.save_clock()
            log.warning("the history has been replayed to its end; the market quotes no more")
        return upcoming

    def _move(self, until_msc: int) -> bool:
        """Release the ticks up to `until_msc` and let them act; True if that changed the books."""
        self.exchange.advance(self.market.release(until_msc), until_msc)
        changes = self.book.take_changes()
        if changes:
            self._store.save(self.book, changes)
        return bool(changes)

    def save_clock(self) -> None:
        """Write the market's time down, at its end and before a clean exit."""
        self._store.save_clock(self.book.now_msc)

    def needs_more_than_a_password(self, login: int) -> bool:
        """Whether the account asks for a one-time or certificate password (rule B10)."""
        account = self.book.accounts.get(login)
        return account is not None and account.one_time_password

    def access(self, login: int, password: str, server: str) -> Access | None:
        """What the password opens; None if there is no such account or neither of its passwords is right."""
        stored = self._store.password_hash(login)
        if server != self.server or stored is None:
            return None
        if verify_password(password, stored):
            return Access.MASTER
        investor = self._store.meta(f"investor {login}")
        return Access.INVESTOR if investor is not None and verify_password(password, investor) else None

    def set_investor_password(self, login: int, password: str) -> bool:
        """Set the password that opens an account for looking only."""
        self._store.set_meta(f"investor {login}", hash_password(password))
        return True

    def create_account(self, login: int, password: str, balance: float, currency: str, leverage: int, name: str) -> int:
        """Open an account (`login` 0: the next free number) and return its login.

        For a login that exists only the password is set. Raises sqlite3.Error.
        """
        login = login or max((FIRST_LOGIN - 1, *self.book.accounts)) + 1
        if login not in self.book.accounts:
            account = Account(login=login, name=name or f"Account {login}", currency=currency, leverage=leverage)
            self.exchange.open_account(account, balance)
            self._store.save(self.book, self.book.take_changes())
        self._store.set_password_hash(login, hash_password(password))
        return login

    def configure_account(self, login: int, changes: Mapping[str, Any]) -> bool:
        """Change settings of an account (names as in `Account`). ValueError for what is no setting of its type."""
        account = self.book.accounts[login]
        for name, value in changes.items():
            if name not in _SETTINGS or type(value) is not type(getattr(account, name)):
                raise ValueError(f"{name} is no account setting with the value {value!r}")
        for name, value in changes.items():
            setattr(account, name, value)
        self.book.note_account(login)
        self._store.save(self.book, self.book.take_changes())
        return True

    def book_money(self, login: int, amount: float, comment: str, kind: int) -> int:
        """Pay in or out as balance (2) or credit (3) (rule U7); returns the deal's ticket."""
        deal = self.exchange.book_money(self.book.accounts[login], amount, comment, kind)
        self._store.save(self.book, self.book.take_changes())
        return deal

    def set_symbol(self, name: str, changes: Mapping[str, Any]) -> bool:
        """Lay a symbol down anew until the process ends. ValueError for an unknown symbol or field."""
        spec = self.book.specs.get(name)
        if spec is None:
            raise ValueError(f"there is no symbol {name}")
        plain = {one.name for one in fields(spec)} - {"name", "sessions", "quote_sessions"}
        if not set(changes) <= plain:
            raise ValueError(f"a symbol has no {', '.join(sorted(set(changes) - plain))} to set")
        changed = replace(spec, **changes)
        self.book.set_spec(changed)
        self.market.specs[name] = changed
        return True

    def trade(self, login: int, request: Mapping[str, Any], reason: Reason) -> Struct:
        """Carry out a request that the account's owner makes elsewhere than through the API (rule R4)."""
        result = self.exchange.send(login, Request.of(request)._replace(reason=reason), 1)
        self._store.save(self.book, self.book.take_changes())
        return result

    def split(self, name: str, ratio: float) -> bool:
        """Split a symbol: `ratio` shares for each. ValueError for an unknown symbol or a ratio that is not above 0."""
        spec = self.book.specs.get(name)
        if spec is None or not 0.0 < ratio < math.inf:
            raise ValueError(f"{name} cannot be split by {ratio}")
        split(self.book, spec, ratio)
        self._store.save(self.book, self.book.take_changes())
        return True

    def send(
        self,
        login: int,
        session: str,
        sequence: int,
        request_id: int,
        request: Mapping[str, Any],
        faults: Mapping[FaultKind, FaultRule] = _NO_FAULTS,
    ) -> Struct:
        """Carry a trade request out, once for each (session, sequence); it is durable before this returns."""
        known = self.outcome(session, sequence)
        if known is not None:
            return known
        result = self._execute(login, request_id, Request.of(request), faults)
        self._store.save(self.book, self.book.take_changes(), (session, sequence, tuple(result)))
        return result

    def _execute(self, login: int, request_id: int, request: Request, faults: Mapping[FaultKind, FaultRule]) -> Struct:
        if FaultKind.REQUOTE in faults:
            return self.exchange.refusal(request, request_id, Retcode.REQUOTE)
        if FaultKind.REJECT in faults:
            return self.exchange.refusal(request, request_id, Retcode(faults[FaultKind.REJECT].retcode))
        partial = faults.get(FaultKind.PARTIAL)
        limit = math.inf if partial is None else request.volume * partial.fraction
        return self.exchange.send(login, request, request_id, limit)

    def outcome(self, session: str, sequence: int) -> Struct | None:
        """The result that a request had, None if it was never carried out."""
        answer = self._store.answer(session, sequence)
        if answer is None:
            return None
        *numbers, request = answer
        return STRUCT_CLASSES["OrderSendResult"]((*numbers, STRUCT_CLASSES["TradeRequest"](request)))

    def status(self, sessions: Mapping[int, int]) -> dict[str, Any]:
        """Plain facts for the operator; `sessions` counts the terminals of each login."""
        return {
            "server": self.server,
            "market": self.market.identity,
            "symbols": tuple(self.market.specs),
            "market_time_msc": self.book.now_msc,
            "speed": self.clock.speed,
            "paused": self.clock.paused,
            "ended": self.ended,
            "accounts": tuple(self.book.accounts),
            "margin_calls": tuple(login for login in self.book.accounts if self.exchange.is_margin_call(login)),
            "sessions": {str(login): count for login, count in sessions.items()},
        }
