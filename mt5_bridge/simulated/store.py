"""The broker's disk: accounts, orders, positions, deals and the market clock in one SQLite file.

Everything that one request or one batch of ticks changed is written in one transaction, together with the market clock
and the answer to the request, before anybody is told of it. After a crash the market goes on from the last written
moment, so no deal ever lies in its future. Nothing waits for the disk: a power cut may take the newest trades back.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import Account, Changes, Kind, Order, Position
from mt5_bridge.structs import TradeDeal, TradeOrder

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (login INTEGER PRIMARY KEY, data TEXT NOT NULL, password TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS orders (ticket INTEGER PRIMARY KEY, login INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS positions (ticket INTEGER PRIMARY KEY, login INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS history (ticket INTEGER PRIMARY KEY, login INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deals (ticket INTEGER PRIMARY KEY, login INTEGER NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    session TEXT NOT NULL, sequence INTEGER NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (session, sequence)
) WITHOUT ROWID;
"""
_UNSAVED = ("orders", "positions", "history", "deals")
KEEP_ANSWERS = 64
"""Answers kept for each terminal session: a terminal has one request under way at a time."""


class Store:
    """One connection, used from one thread."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        # One broker for one book: a second one fails here, and a killed one leaves no lock behind.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def meta(self, key: str) -> str | None:
        """A named fact, None if never written."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Write a named fact down."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def save_clock(self, now_msc: int) -> None:
        """Write the market's time down."""
        self.set_meta("clock", str(now_msc))

    def password_hash(self, login: int) -> str | None:
        """The stored hash of an account's password, None for an unknown account."""
        row = self._db.execute("SELECT password FROM accounts WHERE login = ?", (login,)).fetchone()
        return None if row is None else str(row[0])

    def set_password_hash(self, login: int, value: str) -> None:
        """Replace an account's password hash."""
        self._db.execute("UPDATE accounts SET password = ? WHERE login = ?", (value, login))

    def answer(self, session: str, sequence: int) -> tuple[Any, ...] | None:
        """The answer that was given to a request of a terminal session, None if it never came."""
        query = "SELECT answer FROM answers WHERE session = ? AND sequence = ?"
        row = self._db.execute(query, (session, sequence)).fetchone()
        return None if row is None else tuple(json.loads(row[0]))

    def save(self, book: Book, changes: Changes, answer: tuple[str, int, tuple[Any, ...]] | None = None) -> None:
        """Make changes durable, with the market clock and the answer (session, sequence, fields) to the request."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._write(book, changes)
            if answer is not None:
                session, sequence, fields = answer
                self._db.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (session, sequence, json.dumps(fields))
                )
                self._db.execute(
                    "DELETE FROM answers WHERE session = ? AND sequence <= ?", (session, sequence - KEEP_ANSWERS)
                )
            self.save_clock(book.now_msc)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _write(self, book: Book, changes: Changes) -> None:
        for login in changes.accounts:
            self._db.execute(
                "INSERT INTO accounts (login, data) VALUES (?, ?) "
                "ON CONFLICT (login) DO UPDATE SET data = excluded.data",
                (login, _account_text(book.accounts[login])),
            )
        for login, ticket in changes.orders:
            self._put("orders", login, ticket, book.accounts[login].orders.get(ticket))
        for login, ticket in changes.positions:
            self._put("positions", login, ticket, book.accounts[login].positions.get(ticket))
        for table, records in (("history", changes.history), ("deals", changes.deals)):
            rows = [(record[0], login, json.dumps(record)) for login, record in records]
            self._db.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)  # noqa: S608 - fixed names

    def _put(self, table: str, login: int, ticket: int, item: Order | Position | None) -> None:
        if item is None:
            self._db.execute(f"DELETE FROM {table} WHERE ticket = ?", (ticket,))  # noqa: S608 - fixed names
        else:
            row = (ticket, login, json.dumps({name: getattr(item, name) for name in item.__slots__}))
            self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", row)  # noqa: S608 - fixed names

    def load(self) -> list[Account]:
        """All accounts with their orders, positions, history and deals."""
        accounts: dict[int, Account] = {}
        for login, data in self._db.execute("SELECT login, data FROM accounts ORDER BY login"):
            accounts[login] = Account(**json.loads(data))
        for login, fields in self._rows("orders"):
            order = Order(**fields | {"kind": Kind(fields["kind"])})
            accounts[login].orders[order.ticket] = order
        for login, fields in self._rows("positions"):
            position = Position(**fields)
            accounts[login].positions[position.ticket] = position
        for login, fields in self._rows("history"):
            accounts[login].history.append(TradeOrder(fields))
        for login, fields in self._rows("deals"):
            accounts[login].deals.append(TradeDeal(fields))
        for account in accounts.values():
            # The number of an order says when it was placed, the history is kept by when it was done.
            account.history.sort(key=lambda record: int(record.time_done_msc))
        return list(accounts.values())

    def _rows(self, table: str) -> Iterable[tuple[int, Any]]:
        query = f"SELECT login, data FROM {table} ORDER BY ticket"  # noqa: S608 - fixed names
        for login, data in self._db.execute(query):
            yield login, json.loads(data)


def _account_text(account: Account) -> str:
    names = [name for name in Account.__slots__ if name not in _UNSAVED]
    return json.dumps({name: getattr(account, name) for name in names})
