"""Turns what happened on a terminal into events: deals, orders of the history, positions, order journal, bot logs.

Cursors move in the transaction that spools the events, so that a crash can neither lose nor repeat any.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from mt5_bridge.history_digest import deal_text
from mt5_bridge.journal import Journal
from mt5_bridge.pulse import END_OF_TIME
from node_agent.bots.report import LogLine, LogPiece, read_log
from node_agent.bridge import Bridge, Target
from node_agent.clock import Clock, as_datetime
from node_agent.database import Database
from node_agent.layout import TerminalLayout
from node_agent.protocol.encoding import storable
from node_agent.protocol.messages import (
    BotLogBody,
    DealBody,
    Event,
    EventBody,
    HistoryOrderBody,
    OpenPosition,
    OrderBody,
    PositionsBody,
)
from node_agent.spool import MOST_EVENTS, Spool
from node_agent.state import Sight, StateStore

_log = structlog.get_logger(__name__)

OVERLAP_SECONDS = 86_400
"""Broker time that a whole look at the history repeats: deals may be booked late or out of order, and edited."""
_KEPT_LONGER_SECONDS = 3_600
"""Deals of a whole look are remembered for so much longer: the count that they are compared with may begin earlier."""
_RECENT_SECONDS = 5
"""Broker time that a recent look repeats: of the newest second, some may have been booked after the last look."""
JOURNAL_ROWS = 500
_DEALS = "deals"
_JOURNAL = "journal"
_ORDERS = "orders"
_POSITIONS = "positions"
_MAX_EVENT_ID = 120
_MAX_TEXT = 500


@dataclass(frozen=True)
class _Left:
    """Whose rows they were that a worker has left behind."""

    terminal_id: str
    account_id: str
    epoch: int


class Collector:
    """Stateless but for the database. Methods raise StorageError, and what the bridge raises."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        most_events: int = MOST_EVENTS,
        whole_books: Callable[[], bool] = lambda: True,
    ) -> None:
        """`whole_books` says whether the control plane takes orders of the history and positions."""
        self._database = database
        self._state = StateStore(database)
        self._spool = Spool(database, most_events)
        self._clock = clock
        self._whole_books = whole_books

    def deals_from(self, target: Target) -> int:
        """From when the next look at the history begins, broker wall clock in seconds."""
        return max(0, self._newest_deal(target) - OVERLAP_SECONDS)

    def _newest_deal(self, target: Target) -> int:
        return int(self._state.cursor(target.terminal_id, _DEALS) or 0)

    def misses_deals(self, target: Target, since: int, count: int) -> bool:
        """Whether fewer than `count` deals have been seen from `since` on, broker wall clock in seconds."""
        return self._state.deals_since(target.terminal_id, since) < count

    def collect_deals(self, bridge: Bridge, target: Target, *, recent: bool = False) -> int:
        """Spool the deals not seen before; the whole history when there is no cursor. Returns how many.

        A look at the `recent` ones costs the same after a day of many deals as after one of few.
        """
        newest = self._newest_deal(target)
        deals = bridge.history_deals_get(_begin(newest, recent=recent), END_OF_TIME)
        if not deals:
            return 0
        with self._database.transaction():
            fresh = [event for deal in deals if (event := self._fresh_deal(target, deal)) is not None]
            self._spool.append(fresh)
            latest = max(newest, *(deal.time for deal in deals))
            if latest != newest:
                self._state.move_cursor(target.terminal_id, _DEALS, str(latest))
                self._state.forget_deals_before(target.terminal_id, latest - OVERLAP_SECONDS - _KEPT_LONGER_SECONDS)
        return len(fresh)

    def _fresh_deal(self, target: Target, deal: Any) -> Event | None:
        """None when it was collected before and has not changed since."""
        digest = _digest(deal_text(deal))
        match self._state.see_deal(target.terminal_id, deal.ticket, deal.time, digest):
            case Sight.NEW:
                return self._deal_event(target, deal)
            case Sight.EDITED:
                return self._deal_event(target, deal, f":{digest}:{int(self._clock())}")
            case Sight.KNOWN:
                return None

    def _deal_event(self, target: Target, deal: Any, edit: str = "") -> Event:
        event_id = f"deal:{target.account_id}:{deal.ticket}{edit}"
        return self._event(target, event_id, DealBody.model_validate(_cleaned(deal)), self._clock())

    def collect_books(self, bridge: Bridge, target: Target, *, recent: bool = False) -> int:
        """Spool the orders of the history not seen before, and the positions if they have changed. Returns how many
        events; none while the control plane is too old for them. `recent` as for deals.
        """
        if not self._whole_books():
            return 0
        return self._collect_orders(bridge, target, recent=recent) + self._collect_positions(bridge, target)

    def _collect_orders(self, bridge: Bridge, target: Target, *, recent: bool) -> int:
        newest = int(self._state.cursor(target.terminal_id, _ORDERS) or 0)
        orders = bridge.history_orders_get(_begin(newest, recent=recent), END_OF_TIME)
        if not orders:
            return 0
        with self._database.transaction():
            fresh = [
                order
                for order in orders
                if self._state.first_sight_of_order(target.terminal_id, order.ticket, order.time_done)
            ]
            self._spool.append(
                self._event(
                    target,
                    f"history:{target.account_id}:{order.ticket}",
                    HistoryOrderBody.model_validate(_cleaned(order)),
                    self._clock(),
                )
                for order in fresh
            )
            latest = max(newest, *(order.time_done for order in orders))
            if latest != newest:
                self._state.move_cursor(target.terminal_id, _ORDERS, str(latest))
                self._state.forget_orders_before(target.terminal_id, latest - OVERLAP_SECONDS)
        return len(fresh)

    def _collect_positions(self, bridge: Bridge, target: Target) -> int:
        positions = bridge.positions_get()
        if positions is None:
            return 0  # not known, which is not the same as none
        body = PositionsBody(positions=[OpenPosition.model_validate(_cleaned(each)) for each in positions])
        digest = _digest(body.model_dump_json())
        if self._state.cursor(target.terminal_id, _POSITIONS) == digest:
            return 0
        now = self._clock()
        with self._database.transaction():
            event_id = f"positions:{target.account_id}:{digest}:{int(now * 1000)}"
            self._spool.append([self._event(target, event_id, body, now)])
            self._state.move_cursor(target.terminal_id, _POSITIONS, digest)
        return 1

    def collect_journal(self, bridge: Bridge, target: Target, newest_sequence: int) -> int:
        """Spool the journal rows that changed. `newest_sequence` is what the worker says; returns how many."""
        position = int(self._state.cursor(target.terminal_id, _JOURNAL) or 0)
        if position > newest_sequence:
            # The journal was made anew; its ids, not its numbers, make delivery idempotent.
            _log.warning("journal_restarted", terminal=target.terminal_id, was=position, now=newest_sequence)
            position = 0
        collected = 0
        while position < newest_sequence:
            rows = bridge.journal(position, JOURNAL_ROWS)
            if not rows:
                break
            position = max(int(row["sequence"]) for row in rows)
            with self._database.transaction():
                self._spool.append(self._order_event(target, row) for row in rows)
                self._state.move_cursor(target.terminal_id, _JOURNAL, str(position))
            collected += len(rows)
        return collected

    def rescue_journal(self, layout: TerminalLayout) -> int:
        """Spool what is left in the journal of a terminal that is about to be removed, from its file.

        Its worker may have been ended by the watchdog, or with its machine, before its last rows were collected. Such
        a row keeps the epoch it was sent under. Returns how many.
        """
        if not layout.journal.exists() or not layout.account.exists():
            return 0
        terminal_id, account_id = layout.root.name, layout.account.read_text()
        position = int(self._state.cursor(terminal_id, _JOURNAL) or 0)
        rescued = 0
        with closing(Journal(layout.journal, self._clock)) as journal:
            while entries := journal.after(position, JOURNAL_ROWS):
                position = max(entry.sequence for entry in entries)
                with self._database.transaction():
                    self._spool.append(
                        self._order_event(
                            _Left(terminal_id, account_id, entry.epoch),
                            {**dict(entry.pairs()), "request": entry.request},
                        )
                        for entry in entries
                    )
                    self._state.move_cursor(terminal_id, _JOURNAL, str(position))
                rescued += len(entries)
        return rescued

    def _order_event(self, target: Target | _Left, row: Mapping[str, Any]) -> Event:
        request = row["request"]
        body = OrderBody(
            client_order_id=row["client_order_id"],
            principal=row["principal"],
            state=row["state"],
            retcode=row["retcode"] or 0,
            order=row["order"] or 0,
            deal=row["deal"] or 0,
            symbol=storable(request.get("symbol") or "", _MAX_TEXT),
            type=int(request.get("type") or 0),
            volume=_number(row["volume"] or request.get("volume")),
            price=_number(row["price"] or request.get("price")),
            comment=storable(row["comment"] or row["text"] or row["code"] or "", _MAX_TEXT),
        )
        event_id = _bounded(f"order:{target.terminal_id}:{body.client_order_id}:{body.state}")
        return self._event(target, event_id, body, float(row["updated_at"]))

    def collect_bot_logs(self, target: Target, bot_ids: list[str]) -> int:
        """Spool the complete new lines of the bots' logs. Returns how many."""
        collected = 0
        if bot_ids and not self._spool.has_room_for_logs():
            return 0  # they wait in their files; what a bot's own bound drops there meanwhile is lost
        for bot_id in bot_ids:
            source = f"log:{bot_id}"
            inode, offset = _log_position(self._state.cursor(target.terminal_id, source))
            piece = read_log(target.layout.bot(bot_id).log, inode, offset)
            if piece is None:
                continue
            with self._database.transaction():
                self._spool.append(self._log_event(target, bot_id, piece, line) for line in piece.lines)
                self._state.move_cursor(target.terminal_id, source, f"{piece.inode}:{piece.end}")
            collected += len(piece.lines)
        return collected

    def _log_event(self, target: Target, bot_id: str, piece: LogPiece, line: LogLine) -> Event:
        # The text takes part, because a file system may give a new file the number of an old one.
        source = f"{piece.inode}:{line.offset}:{line.at}:{line.text}".encode(errors="replace")
        digest = hashlib.sha256(source).hexdigest()[:24]
        body = BotLogBody(bot_id=bot_id, level=line.level, text=line.text, fill=line.fill)
        return self._event(target, f"log:{bot_id}:{digest}", body, _instant(line.at, self._clock()))

    def _event(self, target: Target | _Left, event_id: str, body: EventBody, at: float) -> Event:
        return Event(
            event_id=event_id,
            terminal_id=target.terminal_id,
            account_id=target.account_id,
            epoch=target.epoch,
            occurred_at=as_datetime(at),
            body=body,
        )


def _begin(newest: int, *, recent: bool) -> int:
    return max(0, newest - (_RECENT_SECONDS if recent else OVERLAP_SECONDS))


def _cleaned(struct: Any) -> dict[str, Any]:
    fields: dict[str, Any] = struct._asdict()
    return {name: storable(value, _MAX_TEXT) if isinstance(value, str) else value for name, value in fields.items()}


def _number(value: Any) -> float:
    """A request may hold anything that a float can be, and is in the journal although it was refused."""
    number = float(value or 0.0)
    return number if math.isfinite(number) else 0.0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


def _bounded(event_id: str) -> str:
    if len(event_id) <= _MAX_EVENT_ID:
        return event_id
    return f"{event_id[:40]}:{hashlib.sha256(event_id.encode()).hexdigest()}"


def _log_position(cursor: str | None) -> tuple[int, int]:
    inode, _, offset = (cursor or "0:0").partition(":")
    return int(inode), int(offset)


def _instant(text: str, fallback: float) -> float:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            return fallback
        return as_datetime(moment.timestamp()).timestamp()  # in UTC it may lie before the first or after the last year
    except (ValueError, OverflowError):
        return fallback
