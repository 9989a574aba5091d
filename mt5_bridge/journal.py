"""The order journal: every wish to trade is on disk before it is sent, and is sent at most once.

    journaled -> sent -> done | refused | unknown -> done | refused | not_executed
              -> refused | not_executed
    (given up before it came) not_executed

`journaled`: written, certainly not sent yet. `sent`: handed to the terminal. `unknown`: sent, and no answer. The last
state of a row is `done` (the terminal answered that it was carried out), `refused`, or `not_executed`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from mt5_bridge.contract import RETCODE_COMMENTS, STRUCTS
from mt5_bridge.structs import OrderSendResult, Struct, TradeRequest

MAX_ROWS: Final = 1000
"""Most rows that one reading gives."""


class State(StrEnum):
    """Where an order intent stands."""

    JOURNALED = "journaled"
    SENT = "sent"
    UNKNOWN = "unknown"
    DONE = "done"
    REFUSED = "refused"
    NOT_EXECUTED = "not_executed"


UNSETTLED: Final = frozenset({State.JOURNALED, State.SENT, State.UNKNOWN})

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.JOURNALED: frozenset({State.SENT, State.REFUSED, State.NOT_EXECUTED}),
    State.SENT: frozenset({State.DONE, State.REFUSED, State.UNKNOWN, State.NOT_EXECUTED}),
    State.UNKNOWN: frozenset({State.DONE, State.REFUSED, State.NOT_EXECUTED}),
    State.DONE: frozenset(),
    State.REFUSED: frozenset(),
    State.NOT_EXECUTED: frozenset(),
}


class TransitionError(Exception):
    """A row may not change in this way; what is settled stays settled."""


@dataclass(frozen=True)
class Entry:
    """One order intent. `sequence` rises with every change of any row; times are UTC seconds since 1970."""

    sequence: int
    client_order_id: str
    state: State
    principal: str
    epoch: int
    request: Mapping[str, Any]
    created_at: float
    updated_at: float
    broker_time: int = 0
    """Broker wall clock when it was sent, seconds; 0 before that."""
    watermark: int = 0
    """Highest order ticket known when it was sent."""
    sent_at: float = 0.0
    """When it was handed to the terminal; 0 before that, and in rows of older workers."""
    result: tuple[Any, ...] | None = None
    """Fields of OrderSendResult, without `request`."""
    order_ticket: int = 0
    deal_ticket: int = 0
    code: str = ""
    """Why it was refused or not executed: a code of the bridge, or empty."""
    text: str = ""

    def pairs(self) -> tuple[tuple[str, Any], ...]:
        """The row for the link: plain values only."""
        result: Mapping[str, Any] = {} if self.result is None else dict(zip(_RESULT_FIELDS, self.result, strict=True))
        return (
            ("sequence", self.sequence),
            ("client_order_id", self.client_order_id),
            ("state", self.state.value),
            ("principal", self.principal),
            ("epoch", self.epoch),
            ("request", json.dumps(dict(self.request))),
            ("created_at", self.created_at),
            ("updated_at", self.updated_at),
            ("broker_time", self.broker_time),
            ("retcode", result.get("retcode")),
            ("order", self.order_ticket),
            ("deal", self.deal_ticket),
            ("volume", result.get("volume")),
            ("price", result.get("price")),
            ("comment", result.get("comment")),
            ("code", self.code),
            ("text", self.text),
        )

    def order_send_result(self) -> Struct | None:
        """What the terminal answered, rebuilt; None when there is no answer."""
        if self.result is None:
            return None
        return OrderSendResult((*self.result, trade_request(self.request)))


_RESULT_FIELDS: Final = OrderSendResult.field_names[:-1]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS orders (
    client_order_id TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL UNIQUE,
    state TEXT NOT NULL,
    principal TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    request TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    broker_time INTEGER NOT NULL DEFAULT 0,
    watermark INTEGER NOT NULL DEFAULT 0,
    result TEXT,
    order_ticket INTEGER NOT NULL DEFAULT 0,
    deal_ticket INTEGER NOT NULL DEFAULT 0,
    code TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL DEFAULT '',
    sent_at REAL NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS orders_unsettled ON orders (state) WHERE state IN ('journaled', 'sent', 'unknown');
CREATE INDEX IF NOT EXISTS orders_ticket ON orders (order_ticket) WHERE order_ticket <> 0;
"""
_COLUMNS: Final = (
    "sequence, client_order_id, state, principal, epoch, request, created_at, updated_at, broker_time, watermark, "
    "result, order_ticket, deal_ticket, code, text, sent_at"
)

_ADD: Final = (
    "INSERT INTO orders (client_order_id, sequence, state, principal, epoch, request, created_at, updated_at)"
    " VALUES (?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM orders), ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (client_order_id) DO NOTHING RETURNING sequence"
)
_BEFORE: Final = {
    state: ", ".join(f"'{each.value}'" for each, allowed in TRANSITIONS.items() if state in allowed) for state in State
}
"""The states from which each may come, as SQL."""


class Journal:
    """The journal of one terminal. Safe to use from several threads; raises sqlite3.Error when the disk fails."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._database.execute("PRAGMA journal_mode=WAL")
        # A power cut may take the newest notes back, but for those of `_on_the_disk`.
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute("PRAGMA busy_timeout=2000")
        self._database.executescript(_SCHEMA)
        if "sent_at" not in {row[1] for row in self._database.execute("PRAGMA table_info(orders)")}:
            # The file of an older worker.
            self._database.execute("ALTER TABLE orders ADD COLUMN sent_at REAL NOT NULL DEFAULT 0")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def add(self, client_order_id: str, principal: str, epoch: int, request: Mapping[str, Any]) -> tuple[Entry, bool]:
        """Write an intent down, or give the row that has this id already; True when it is new.

        Before the order is sent, `sent` makes sure that both notes are on the disk. A power cut before that may lose
        an intent of which nothing was sent.
        """
        with self._lock:
            now = self._clock()
            added = self._database.execute(
                _ADD, (client_order_id, State.JOURNALED, principal, epoch, json.dumps(dict(request)), now, now)
            ).fetchall()
            if added:
                sequence = added[0][0]
                state = State.JOURNALED
                return Entry(sequence, client_order_id, state, principal, epoch, dict(request), now, now), True
            entry = self._get(client_order_id)
            assert entry is not None
            return entry, False

    def give_up(self, client_order_id: str, principal: str, epoch: int) -> Entry:
        """The row that has this id. When there is none, one that keeps an order which is still on its way here from
        ever being sent.
        """
        with self._lock, self._on_the_disk():
            now = self._clock()
            self._database.execute(
                "INSERT INTO orders (client_order_id, sequence, state, principal, epoch, request, created_at,"
                " updated_at, code, text) VALUES (?, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM orders), ?, ?, ?,"
                " '{}', ?, ?, 'not_executed', 'it did not come in time') ON CONFLICT (client_order_id) DO NOTHING",
                (client_order_id, State.NOT_EXECUTED, principal, epoch, now, now),
            )
            entry = self._get(client_order_id)
            assert entry is not None
            return entry

    def sent(self, client_order_id: str, broker_time: int, watermark: int) -> None:
        """The order is about to be handed to the terminal: that, and its intent, are on the disk when this returns."""
        with self._lock, self._on_the_disk():
            self._change(
                client_order_id, State.SENT, broker_time=broker_time, watermark=watermark, sent_at=self._clock()
            )

    def settle(
        self,
        client_order_id: str,
        state: State,
        *,
        result: tuple[Any, ...] | None = None,
        code: str = "",
        text: str = "",
    ) -> None:
        """Write an outcome. `result` is an OrderSendResult. Raises TransitionError when the row is settled already.

        What a power cut takes back of it is found out again: a row that was sent is settled from the books.
        """
        told: dict[str, float | str] = {"code": code, "text": text}
        if result is not None:
            values = OrderSendResult(result)
            told |= {
                "result": json.dumps(tuple(values)[:-1]),
                "order_ticket": values.order,
                "deal_ticket": values.deal,
            }
        with self._lock:
            self._change(client_order_id, state, **told)

    def get(self, client_order_id: str) -> Entry | None:
        """The row with this id."""
        with self._lock:
            return self._get(client_order_id)

    def after(self, sequence: int, limit: int) -> tuple[Entry, ...]:
        """Rows that changed after `sequence`, oldest change first, at most `limit`."""
        with self._lock:
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM orders WHERE sequence > ? ORDER BY sequence LIMIT ?",  # noqa: S608 - constant
                (sequence, max(0, min(limit, MAX_ROWS))),
            ).fetchall()
        return tuple(_entry(row) for row in rows)

    def unsettled(self) -> tuple[Entry, ...]:
        """Rows without a last state, in the order in which they were written."""
        with self._lock:
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM orders WHERE state IN ('journaled', 'sent', 'unknown') ORDER BY created_at"  # noqa: S608 - constant
            ).fetchall()
        return tuple(_entry(row) for row in rows)

    def claimed(self, above: int, other_than: str) -> frozenset[int]:
        """Order tickets above `above` that belong to a row other than `other_than`."""
        with self._lock:
            rows = self._database.execute(
                "SELECT order_ticket FROM orders WHERE order_ticket > ? AND client_order_id <> ?", (above, other_than)
            ).fetchall()
        return frozenset(row[0] for row in rows)

    def highest_ticket(self) -> int:
        """The highest order ticket of any row."""
        with self._lock:
            row = self._database.execute("SELECT COALESCE(MAX(order_ticket), 0) FROM orders").fetchone()
        return int(row[0])

    def begun_since(self, moment: float) -> tuple[tuple[float, Mapping[str, Any]], ...]:
        """When orders were handed to the terminal after `moment`, and their requests; oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT sent_at, request FROM orders WHERE sent_at > ? ORDER BY sent_at", (moment,)
            ).fetchall()
        return tuple((float(at), json.loads(request)) for at, request in rows)

    def knows_guard(self) -> bool:
        """Whether the guard of this account has ever written down what it must remember."""
        with self._lock:
            return bool(self._database.execute("PRAGMA user_version").fetchone()[0])

    def note_guard(self) -> None:
        if not self.knows_guard():
            with self._lock:
                self._database.execute("PRAGMA user_version = 1")

    def sequence(self) -> int:
        """The number of the latest change."""
        with self._lock:
            row = self._database.execute("SELECT COALESCE(MAX(sequence), 0) FROM orders").fetchone()
        return int(row[0])

    @contextmanager
    def _on_the_disk(self) -> Iterator[None]:
        """What is written inside survives a power cut, and so does all that was written before it."""
        self._database.execute("PRAGMA synchronous=FULL")
        try:
            yield
        finally:
            self._database.execute("PRAGMA synchronous=NORMAL")

    def _get(self, client_order_id: str) -> Entry | None:
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM orders WHERE client_order_id = ?",  # noqa: S608 - constant
            (client_order_id,),
        ).fetchone()
        return None if row is None else _entry(row)

    def _change(self, client_order_id: str, state: State, **values: float | str) -> None:
        names = "".join(f", {name} = ?" for name in values)
        changed = self._database.execute(
            "UPDATE orders SET sequence = (SELECT MAX(sequence) + 1 FROM orders), state = ?, updated_at = ?"  # noqa: S608 - names and states come from this file
            f"{names} WHERE client_order_id = ? AND state IN ({_BEFORE[state]})",
            (state, self._clock(), *values.values(), client_order_id),
        ).rowcount
        if changed:
            return
        entry = self._get(client_order_id)
        if entry is None:
            raise KeyError(client_order_id)
        raise TransitionError(f"{entry.state.value} cannot become {state.value}")


def trade_request(request: Mapping[str, Any]) -> Struct:
    """The request as the package echoes it: missing fields are 0, 0.0 or ''."""
    return TradeRequest(tuple(request.get(name, kind()) for name, kind in STRUCTS["TradeRequest"]))


def unexecuted(retcode: int, request: Mapping[str, Any]) -> Struct:
    """An answer of order_send to a request that was not carried out: all numbers 0 (K5)."""
    comment = RETCODE_COMMENTS.get(retcode, "")
    return OrderSendResult((retcode, 0, 0, 0.0, 0.0, 0.0, 0.0, comment, 0, 0, trade_request(request)))


def _entry(row: tuple[Any, ...]) -> Entry:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    values["state"] = State(values["state"])
    values["request"] = json.loads(values["request"])
    values["result"] = None if values["result"] is None else tuple(json.loads(values["result"]))
    return Entry(**values)
