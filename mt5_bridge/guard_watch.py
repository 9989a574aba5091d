"""Watches the account for its guard between the calls of clients: losses that grow while nobody trades, and what has
to be closed.

Expert Advisors and people trade inside the terminal, where no order can be refused. There the guard looks at the
equity; once it says "close everything", it closes whatever appears until somebody re-arms the account.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mt5_bridge.contract import CONSTANTS
from mt5_bridge.executor import BusyError, DeadlineError, Executor
from mt5_bridge.guard_memory import memory_data
from mt5_bridge.guard_rules import Figures, losses, must_close, must_remove_orders
from mt5_bridge.journal import Journal
from mt5_bridge.refusals import RefusedError
from mt5_bridge.terminal_link import Account, TerminalLink
from mt5_bridge.trading import DONE, Sender, TradeDesk

log = logging.getLogger(__name__)

PRINCIPAL: Final = "guard"
OPEN_SECONDS: Final = 0.25
"""Between two looks while something is open or has to be closed."""
FLAT_SECONDS: Final = 1.0
_LOOK_DEADLINE: Final = 30.0
_BELIEVED_AFTER: Final = 3.0
"""A terminal that has just connected lists no positions until it has been told of them."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
_DEVIATION_POINTS: Final = 1000
_FILLINGS: Final = ((1, CONSTANTS["ORDER_FILLING_FOK"]), (2, CONSTANTS["ORDER_FILLING_IOC"]))
_MARKET_ORDERS: Final = frozenset({CONSTANTS["ORDER_TYPE_BUY"], CONSTANTS["ORDER_TYPE_SELL"]})


@dataclass(frozen=True)
class Sight:
    """What the last look found. None while the terminal could not be asked. Amounts in the account currency."""

    at: float = 0.0
    """UTC seconds since 1970."""
    figures: Figures | None = None
    positions: int | None = None
    orders: int | None = None
    kill_id: str = ""
    """Of the guard at that look."""
    flat: bool = False
    """Nothing is open, waits, or is on its way, and the terminal has been connected long enough to know."""


@dataclass
class _Attempt:
    next_at: float
    pause: float


class GuardWatch:
    """`run` belongs to a thread of its own; what it asks the terminal is asked on the executor's thread."""

    def __init__(
        self,
        desk: TradeDesk,
        link: TerminalLink,
        executor: Executor,
        account: Account,
        journal: Journal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._desk = desk
        self._link = link
        self._executor = executor
        self._account = account
        self._journal = journal
        self._clock = clock
        self._attempts: dict[int, _Attempt] = {}
        self._trouble = ""
        self.sight = Sight()

    def run(self) -> float | None:
        """Look once and close what has to be closed. Seconds until the next look, None until there is a new guard."""
        if self._desk.unguarded:
            self.sight = Sight()
            return None
        try:
            requests = self._executor.run("guard", _LOOK_DEADLINE, self._look)
        except (BusyError, DeadlineError):
            return OPEN_SECONDS
        for request in requests:
            self._close(request)
        idle = self.sight.positions == 0 and self.sight.orders == 0
        return FLAT_SECONDS if idle else OPEN_SECONDS

    def report(self) -> dict[str, Any] | None:
        """What the farm is told, ready for JSON; None while there is nothing to guard."""
        desk, sight = self._desk, self.sight
        guard, memory = desk.mandate.guard, desk.record.memory
        if desk.unguarded and not guard.rearm_id:
            return None
        used = {} if sight.figures is None else {each.switch: each for each in losses(guard, memory, sight.figures)}
        return {
            **memory_data(memory),
            "at": sight.at,
            "equity": None if sight.figures is None else sight.figures.equity,
            "positions": sight.positions,
            "orders": sight.orders,
            "flat": sight.flat,
            "kill_id": sight.kill_id,
            "problem": desk.record.problem,
            "closing_problem": self._trouble if must_close(guard, memory) and not sight.flat else "",
            "losses": [{"switch": each.switch, "figure": each.figure, "limit": each.limit} for each in used.values()],
        }

    def _look(self) -> list[dict[str, Any]]:
        """On the executor's thread: see the account, and what has to be sent now."""
        desk, guard = self._desk, self._desk.mandate.guard
        account = self._link.call("account_info") if self._link.linked and self._link.connected else None
        if account is None or not self._account.matches(account):
            self.sight = replace(self.sight, positions=None, orders=None, flat=False)
            return []
        desk.take_in(account)
        positions, orders = self._link.call("positions_get"), self._link.call("orders_get")
        unsettled = self._journal.unsettled()
        known = positions is not None and orders is not None
        flat = known and not positions and not orders and not unsettled
        self.sight = Sight(
            at=self._clock(),
            figures=Figures(account.balance, account.equity),
            positions=len(positions) if known else None,
            orders=len(orders) if known else None,
            kill_id=guard.kill_id,
            flat=flat and self._link.connected_for >= _BELIEVED_AFTER,
        )
        if not known:
            return []
        busy = {each.request.get("position") or each.request.get("order") for each in unsettled}
        memory = desk.record.memory
        wishes: list[dict[str, Any]] = []
        if must_remove_orders(guard, memory):
            wishes += [_remove(order) for order in orders if order.type not in _MARKET_ORDERS]
        if must_close(guard, memory):
            wishes += [request for position in positions if (request := self._closing(position))]
        due = [each for each in wishes if _ticket(each) not in busy and self._is_due(_ticket(each))]
        open_ = {each.ticket for each in (*positions, *orders)}
        self._attempts = {ticket: attempt for ticket, attempt in self._attempts.items() if ticket in open_}
        return due

    def _closing(self, position: Any) -> dict[str, Any] | None:
        symbol, tick = self._link.call("symbol_info", (position.symbol,)), None
        if symbol is not None:
            self._link.call("symbol_select", (position.symbol, True))
            tick = self._link.call("symbol_info_tick", (position.symbol,))
        if tick is None or not tick.bid > 0 or not tick.ask > 0:
            self._trouble = f"there is no price for {position.symbol}"
            return None
        most = symbol.volume_max if symbol.volume_max > 0 else position.volume
        return {
            "action": CONSTANTS["TRADE_ACTION_DEAL"],
            "position": position.ticket,
            "symbol": position.symbol,
            "volume": min(position.volume, most),
            "type": 1 - position.type,
            "price": tick.ask if position.type else tick.bid,
            "deviation": _DEVIATION_POINTS,
            "magic": position.magic,
            "comment": "guard",
            "type_time": CONSTANTS["ORDER_TIME_GTC"],
            "type_filling": _filling(symbol.filling_mode),
        }

    def _is_due(self, ticket: int) -> bool:
        attempt = self._attempts.get(ticket)
        return attempt is None or self._clock() >= attempt.next_at

    def _close(self, request: Mapping[str, Any]) -> None:
        """Send it; what the broker refuses is tried again, after pauses that grow."""
        ticket, now = _ticket(request), self._clock()
        last = self._attempts.get(ticket)
        pause = _FIRST_PAUSE if last is None else min(last.pause * 2, _LONGEST_PAUSE)
        self._attempts[ticket] = _Attempt(now + pause, pause)
        try:
            result, _ = self._desk.send(Sender(PRINCIPAL, self._desk.mandate.epoch), request, None)
        except RefusedError as error:
            self._trouble = error.message
        except Exception as error:  # the watch must not end, whatever the terminal says to one request
            log.exception("closing failed")
            self._trouble = f"the terminal failed: {type(error).__name__}"
        else:
            if result is None or result.retcode not in DONE:
                self._trouble = "the terminal did not answer" if result is None else result.comment
                log.warning("position or order %d could not be closed yet: %s", ticket, self._trouble)
            else:
                self._attempts.pop(ticket, None)  # a part that is left is closed at once


def _remove(order: Any) -> dict[str, Any]:
    return {"action": CONSTANTS["TRADE_ACTION_REMOVE"], "order": order.ticket, "symbol": order.symbol}


def _ticket(request: Mapping[str, Any]) -> int:
    return int(request.get("position") or request["order"])


def _filling(modes: int) -> int:
    return next((filling for bit, filling in _FILLINGS if modes & bit), CONSTANTS["ORDER_FILLING_RETURN"])
