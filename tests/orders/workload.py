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
DEAL, PENDING, SLTP, MODIFY, REMOVE, CLOSE_BY = 1, 5, 6, 7, 8, 10
IMMEDIATE_OR_CANCEL: Final = 1
DONE: Final = frozenset({10009, 10010})
"""Carried out, wholly or in part."""
ACTIONS: Final = {
    "open": DEAL,
    "open against": DEAL,
    "close half": DEAL,
    "close": DEAL,
    "close by": CLOSE_BY,
    "set stops": SLTP,
    "place": PENDING,
    "change": MODIFY,
    "remove": REMOVE,
}
STEPS: Final = {
    "same": ("open", "close"),
    "marked": ("open", "close"),
    "stops": ("open", "set stops", "close"),
    "halves": ("open", "close half", "close"),
    "pair": ("open", "open against", "close by"),
    "pending": ("place", "change", "remove"),
}
"""Chains of requests. Those of "same" differ in nothing, so that only counting can tell them apart. The first order of
"marked" may be filled in part."""
HEDGING_KINDS: Final = ("same", "marked", "same", "stops", "pending", "halves", "pair")
NETTING_KINDS: Final = ("same", "marked", "pending")
"""On a netting account chains share one position, so none may ask for more of it than its own volume."""
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
    netting: bool = False
    done: int = 0
    tries: int = 0
    sent: bool = False
    """Whether this try may have reached the worker."""
    tickets: list[int] = field(default_factory=list)
    """Of the orders that opened something."""
    volume: float = 0.0
    """What the first order was filled with, less what has been closed of it."""
    not_before: float = 0.0
    fulfilled: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def order_id(self) -> str:
        """Client order id of the present try. A try that is known to have failed is followed by one with a new id."""
        return f"c{self.number}-{self.done}-{self.tries}"

    @property
    def step(self) -> str:
        """The present request's name."""
        return STEPS[self.kind][self.done]

    def request(self) -> dict[str, Any]:
        """The present request."""
        match self.step:
            case "place":
                base = {"action": PENDING, "symbol": SYMBOL, "volume": 0.01, "type": BUY_LIMIT, "price": 0.5}
                return base | {"magic": MAGIC, "comment": self.mark}
            case "set stops":
                return {"action": SLTP, "symbol": SYMBOL, "position": self.tickets[0], "sl": 0.5, "tp": 2.0}
            case "change":
                return {"action": MODIFY, "order": self.tickets[0], "price": 0.4, "symbol": SYMBOL}
            case "remove":
                return {"action": REMOVE, "order": self.tickets[0]}
            case "close by":
                return {"action": CLOSE_BY, "position": self.tickets[0], "position_by": self.tickets[1]}
        return self._deal()

    def _deal(self) -> dict[str, Any]:
        side = BUY if self.kind == "stops" else self.number % 2
        base: dict[str, Any] = {"action": DEAL, "symbol": SYMBOL, "magic": MAGIC, "comment": self.mark}
        match self.step:
            case "open":
                volume = 0.02 if self.kind in {"marked", "halves"} else 0.01
                filling = {"type_filling": IMMEDIATE_OR_CANCEL} if self.kind == "marked" else {}
                return base | {"volume": volume, "type": side} | filling
            case "open against":
                return base | {"volume": 0.01, "type": 1 - side}
        volume = 0.01 if self.step == "close half" else self.volume
        position = {} if self.netting else {"position": self.tickets[0]}
        return base | {"volume": volume, "type": 1 - side} | position

    @property
    def mark(self) -> str:
        """The comment of the present order."""
        return self.mark_of(self.done)

    def mark_of(self, step: int) -> str:
        """The comment of the order that the step sends."""
        return "same" if self.kind == "same" else f"{self.kind} {self.number} {step}"

    def succeed(self, order: int, volume: float) -> None:
        """The present request was carried out."""
        self.fulfilled.append(self.order_id)
        match self.step:
            case "open":
                self.tickets, self.volume = [order], volume
            case "place" | "open against":
                self.tickets.append(order)
            case "close half":
                self.volume = round(self.volume - volume, 2)
        self.done += 1
        self.tries = 0
        self.sent = False

    def fail(self, why: str) -> None:
        """The present try was certainly not carried out."""
        self.complaints.append(why)
        self.tries += 1
        self.sent = False
        self.not_before = time.monotonic() + PAUSE_SECONDS


def chains(orders: int, *, netting: bool) -> Iterator[Chain]:
    """Chains with `orders` requests in all."""
    kinds = NETTING_KINDS if netting else HEDGING_KINDS
    for number in itertools.count():
        kind = kinds[number % len(kinds)]
        length = min(len(STEPS[kind]), orders)
        if length == 0:
            return
        orders -= length
        yield Chain(number, kind, length, netting)


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
            if result is not None and result.retcode in DONE:
                chain.succeed(result.order, result.volume)
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
            chain.succeed(row["order"], row["volume"])
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
