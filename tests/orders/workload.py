"""Clients that trade through the faulty link until every one of their wishes has come true."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from tests.orders.account import AccountLine, close_quietly

SYMBOL: Final = "EURUSD"
MAGIC: Final = 7
BUY, SELL, BUY_LIMIT = 0, 1, 2
DEAL, PENDING, SLTP, MODIFY, REMOVE = 1, 5, 6, 7, 8
DONE: Final = 10009
STEPS: Final = {
    "same": (DEAL, DEAL),
    "marked": (DEAL, DEAL),
    "stops": (DEAL, SLTP, DEAL),
    "pending": (PENDING, MODIFY, REMOVE),
}
"""Chains of requests. Those of "same" differ in nothing, so that only counting can tell them apart."""
KINDS: Final = ("same", "marked", "same", "stops", "pending")
MOST_TRIES: Final = 60
PAUSE_SECONDS: Final = 0.2
WAITING_CHAINS: Final = 40
UNSETTLED: Final = frozenset({"journaled", "sent", "unknown"})


@dataclass
class Chain:
    """Requests that follow one another: open and close, or place, change and remove. Each must happen once."""

    number: int
    kind: str
    length: int
    """Requests of the chain that are wanted: the last chain of a run may be cut short."""
    done: int = 0
    tries: int = 0
    sent: bool = False
    """Whether this try may have reached the worker."""
    ticket: int = 0
    not_before: float = 0.0
    fulfilled: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def order_id(self) -> str:
        """Client order id of the present try. A try that is known to have failed is followed by one with a new id."""
        return f"c{self.number}-{self.done}-{self.tries}"

    def request(self) -> dict[str, Any]:
        """The present request."""
        action = STEPS[self.kind][self.done]
        side = BUY if self.kind == "stops" else self.number % 2
        comment = "same" if self.kind == "same" else f"{self.kind} {self.number} {self.done}"
        match action:
            case 1:
                base = {"action": DEAL, "symbol": SYMBOL, "volume": 0.01, "magic": MAGIC, "comment": comment}
                return base | ({"type": side} if self.done == 0 else {"type": 1 - side, "position": self.ticket})
            case 5:
                base = {"action": PENDING, "symbol": SYMBOL, "volume": 0.01, "type": BUY_LIMIT, "price": 0.5}
                return base | {"magic": MAGIC, "comment": comment}
            case 6:
                return {"action": SLTP, "symbol": SYMBOL, "position": self.ticket, "sl": 0.5, "tp": 2.0}
            case 7:
                return {"action": MODIFY, "order": self.ticket, "price": 0.4, "symbol": SYMBOL}
        return {"action": REMOVE, "order": self.ticket}

    def succeed(self, order: int) -> None:
        """The present request was carried out."""
        self.fulfilled.append(self.order_id)
        self.ticket = order if self.done == 0 else self.ticket
        self.done += 1
        self.tries = 0
        self.sent = False

    def fail(self, why: str) -> None:
        """The present try was certainly not carried out."""
        self.complaints.append(why)
        self.tries += 1
        self.sent = False
        self.not_before = time.monotonic() + PAUSE_SECONDS


def chains(orders: int) -> Iterator[Chain]:
    """Chains with `orders` requests in all."""
    for number in itertools.count():
        kind = KINDS[number % len(KINDS)]
        length = min(len(STEPS[kind]), orders)
        if length == 0:
            return
        orders -= length
        yield Chain(number, kind, length)


class Trader(threading.Thread):
    """One client: works through its chains, and goes on with others while an outcome is unknown."""

    def __init__(self, line: AccountLine, source: Iterator[Chain], lock: threading.Lock) -> None:
        super().__init__(daemon=True)
        self._line = line
        self._source = source
        self._lock = lock
        self._api: MetaTrader5 | None = None
        self._waiting: deque[Chain] = deque()
        self.finished: list[Chain] = []
        self.given_up: list[Chain] = []

    def run(self) -> None:
        """Trade until every chain is finished or given up."""
        while (chain := self._next()) is not None:
            while chain.done < chain.length and chain.tries < MOST_TRIES and chain.not_before <= time.monotonic():
                self._go_on(chain)
            if chain.done == chain.length:
                self.finished.append(chain)
            elif chain.tries >= MOST_TRIES:
                self.given_up.append(chain)
            else:
                self._waiting.append(chain)
        close_quietly(self._api)

    def _next(self) -> Chain | None:
        if len(self._waiting) < WAITING_CHAINS:
            with self._lock:
                fresh = next(self._source, None)
            # One that waits gets its turn between fresh ones, as soon as its pause is over.
            if fresh is not None and self._waiting and self._waiting[0].not_before <= time.monotonic():
                self._waiting.append(fresh)
                return self._waiting.popleft()
            if fresh is not None:
                return fresh
        if not self._waiting:
            return None
        chain = self._waiting.popleft()
        time.sleep(max(0.0, chain.not_before - time.monotonic()))
        return chain

    def _go_on(self, chain: Chain) -> None:
        try:
            if chain.sent and self._look(chain):
                return
            chain.sent = True
            result = self._client().send_once(chain.order_id, chain.request())
            if result is not None and result.retcode == DONE:
                chain.succeed(result.order)
                return
            self._look(chain)
        except BridgeError:
            # Refused, or not known yet: the journal says which.
            chain.not_before = time.monotonic() + PAUSE_SECONDS
        except BridgeLost:
            close_quietly(self._api)
            self._api = None

    def _look(self, chain: Chain) -> bool:
        """Ask what became of the present try; False when the worker never had it."""
        row = self._client().outcome(chain.order_id)
        if row is None:
            return False
        if row["state"] in UNSETTLED:
            chain.not_before = time.monotonic() + PAUSE_SECONDS
        elif row["state"] == "done":
            chain.succeed(row["order"])
        else:
            chain.fail(f"{row['state']} {row['code']} {row['retcode']} {row['text']}")
        return True

    def _client(self) -> MetaTrader5:
        if self._api is None:
            try:
                self._api = self._line.client()
            except BridgeLost:
                time.sleep(PAUSE_SECONDS / 4)
                raise
        return self._api
