"""Keep the trade log: deals, orders, positions and equity, as the terminals report them. All of it may come twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account, AccountSnapshotRow
from control_plane.accounts.repository import AccountColumns, Figures
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.bulk import put_rows
from control_plane.db.engine import after_commit
from control_plane.db.types import money
from control_plane.ids import new_id
from control_plane.trading import book_rows, outcome, repository
from control_plane.trading.book_rows import Standing
from control_plane.trading.ledger import DealFacts, facts_of
from control_plane.trading.model import (
    Deal,
    DealCorrection,
    EquitySample,
    HistoryOrder,
    Order,
    PositionSight,
    Reconciliation,
)
from control_plane.trading.outcome import Outcome
from control_plane.trading.repository import OUTCOME_COLUMNS, EquityPoint
from control_plane.trading.settlement import FIRST_LOOK_AT_FOREIGN
from control_plane.trading.state import SETTLED, OrderKind, OrderState, Side, may_become
from mt5_bridge.history_digest import deal_text
from node_agent.protocol.messages import (
    AccountSnapshot,
    DealBody,
    Event,
    HistoryOrderBody,
    OrderBody,
    PositionsBody,
)

_log = structlog.get_logger(__name__)
_ORDER_FIELDS = (
    "time_setup_msc",
    "time_done_msc",
    "type",
    "state",
    "magic",
    "position_id",
    "reason",
    "volume_initial",
    "volume_current",
    "price_open",
    "sl",
    "tp",
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a terminal says of its account, beside what is known of that."""

    account: AccountColumns
    known: Figures | None
    last_point: EquityPoint | None
    """The end of the equity curve."""
    snapshot: AccountSnapshot


Told = tuple[Account, Event]
"""An event of a terminal, and the account that it is about."""


@dataclass(frozen=True, slots=True)
class Page:
    """What the trade log holds of the things that some events are about, looked up for all of them at once."""

    new_deals: set[tuple[str, int]]
    """Deals that are not known, by account and ticket; those that are recorded meanwhile leave it."""
    orders: dict[tuple[str, str], Order]
    """By account and client order id."""
    deals: list[dict[str, Any]] = field(default_factory=list)
    """Rows of deals that are recorded and not written down yet: see `write_deals`."""


OrderWatch = Callable[[Session, Order], None]
"""Told of every change of an order, in its transaction."""


class TradeLog:
    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        equity_interval: timedelta,
        *,
        on_order: OrderWatch = lambda _session, _order: None,
        on_deal: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_deal` is called once a deal is committed."""
        self._bus = bus
        self._on_order = on_order
        self._on_deal = on_deal
        self._clock = clock
        self._equity_interval = equity_interval

    def look_up(self, session: Session, told: Sequence[Told]) -> Page:
        """What these events need to be recorded."""
        deals: dict[str, set[int]] = defaultdict(set)
        orders: dict[str, set[str]] = defaultdict(set)
        for account, event in told:
            if isinstance(event.body, DealBody):
                deals[account.id].add(event.body.ticket)
            elif isinstance(event.body, OrderBody):
                orders[account.id].add(event.body.client_order_id)
        known = {
            (account_id, row.client_order_id): row
            for account_id, names in orders.items()
            for row in repository.orders_by_client_ids(session, account_id, names)
        }
        new = {
            (account_id, ticket)
            for account_id, tickets in deals.items()
            for ticket in tickets - repository.known_deals(session, account_id, tickets)
        }
        return Page(new, known)

    def record_deal(
        self,
        session: Session,
        account: Account,
        body: DealBody,
        epoch: int,
        observed_at: datetime,
        page: Page | None = None,
    ) -> bool:
        """Write a deal down once, and as a correction when the broker has edited it. Returns False when it is known.

        With a `page`, new ones wait there for `write_deals`. `observed_at` is when the broker's book was read. Raises
        ValueError for impossible amounts.
        """
        if page is None or (account.id, body.ticket) not in page.new_deals:
            if page is not None:
                self.write_deals(session, page)
            known = book_rows.standing(session, account.id, body.ticket)
            if known is not None:
                return self._correct(session, account, known, body, epoch, observed_at)
        row: dict[str, Any] = {
            "id": new_id("dea"),
            "tenant_id": account.tenant_id,
            "account_id": account.id,
            "ticket": body.ticket,
            "order_ticket": body.order,
            "position_ticket": body.position_id,
            "symbol": body.symbol[:64],
            "type": body.type,
            "entry": body.entry,
            "reason": body.reason,
            "volume": body.volume,
            "price": body.price,
            "profit": money(body.profit),
            "commission": money(body.commission),
            "swap": money(body.swap),
            "fee": money(body.fee),
            "magic": body.magic,
            "comment": body.comment[:128],
            "external_id": body.external_id[:128],
            "broker_time_msc": body.time_msc,
            "epoch": epoch,
            "recorded_at": self._clock.now(),
        }
        if page is None:
            put_rows(session, Deal, [row], keep=True)
        else:
            page.deals.append(row)
            page.new_deals.discard((account.id, body.ticket))
        self._announce(session, Topic.DEAL, row["id"], account)
        after_commit(session, self._on_deal)
        return True

    def write_deals(self, session: Session, page: Page) -> None:
        """Those that wait, at once: a statement costs nearly the same for one as for many."""
        put_rows(session, Deal, page.deals, keep=True)
        page.deals.clear()

    def _correct(
        self, session: Session, account: Account, known: Standing, body: DealBody, epoch: int, observed_at: datetime
    ) -> bool:
        """The deal stays as it was written; what is new lies beside it. Older news than what is known are no news."""
        facts = facts_of(body)
        if deal_text(facts) == deal_text(known.facts):
            return False
        if epoch < known.epoch or (
            epoch == known.epoch and known.observed_at is not None and observed_at <= known.observed_at
        ):
            return False
        changed = [name for name in DealFacts._fields if getattr(facts, name) != getattr(known.facts, name)]
        session.add(
            DealCorrection(
                account_id=account.id,
                tenant_id=account.tenant_id,
                ticket=body.ticket,
                number=known.corrections + 1,
                before=book_rows.as_stored(known.facts, changed),
                after=book_rows.as_stored(facts, changed),
                epoch=epoch,
                observed_at=observed_at,
                recorded_at=self._clock.now(),
            )
        )
        session.flush()
        _log.info("deal_corrected", account=account.id, ticket=body.ticket, fields=changed)
        self._announce(session, Topic.DEAL, repository.deal_id(session, account.id, body.ticket), account)
        return True

    def record_history_order(
        self, session: Session, account: Account, body: HistoryOrderBody, epoch: int, *, replace: bool = False
    ) -> bool:
        """Write an order of the broker's history down once; with `replace`, as it is now. False when it is known."""
        return bool(put_rows(session, HistoryOrder, [self._history_row(account, body, epoch)], keep=not replace))

    def record_history_orders(self, session: Session, told: Sequence[tuple[Account, HistoryOrderBody, int]]) -> None:
        """Write down, once, those that are not known; each with its account and epoch."""
        put_rows(session, HistoryOrder, [self._history_row(*each) for each in told], keep=True)

    def _history_row(self, account: Account, body: HistoryOrderBody, epoch: int) -> dict[str, Any]:
        return {
            "account_id": account.id,
            "ticket": body.ticket,
            "tenant_id": account.tenant_id,
            **{name: getattr(body, name) for name in _ORDER_FIELDS},
            "symbol": body.symbol[:64],
            "comment": body.comment[:128],
            "epoch": epoch,
            "recorded_at": self._clock.now(),
        }

    def record_positions(
        self, session: Session, account: Account, body: PositionsBody, epoch: int, seen_at: datetime
    ) -> None:
        """Keep the newest sight of the open positions."""
        known = book_rows.positions_seen(session, account.id)
        if known is not None and (epoch, seen_at) <= known:
            return
        row = {
            "account_id": account.id,
            "tenant_id": account.tenant_id,
            "positions": [dict(vars(each)) for each in body.positions],  # plain values only
            "epoch": epoch,
            "seen_at": seen_at,
        }
        put_rows(session, PositionSight, [row])
        self._announce(session, Topic.ACCOUNT, account.id, account)

    def record_order(self, session: Session, account: Account, event: Event, body: OrderBody, page: Page) -> None:
        """Take in a row of the bridge's journal: news of an order placed here, or an order of a bot or a script."""
        row = page.orders.get((account.id, body.client_order_id))
        if row is None:
            row = self._foreign_order(account, event, body)
            session.add(row)
            page.orders[account.id, body.client_order_id] = row
        self.apply(session, row, account, outcome.of_event(body))
        if not row.placed_here and row.state not in SETTLED and row.look_again_at is None:
            # Its node may be lost before it tells the outcome; then a person has to hear that nobody knows it.
            row.look_again_at = self._clock.now() + FIRST_LOOK_AT_FOREIGN

    def apply(self, session: Session, row: Order, account: Account, news: Outcome) -> bool:
        """Bring an order forward; what is older than what is known, or comes after the end, changes nothing."""
        present = OrderState(row.state)
        if news.state is not present and not may_become(present, news.state):
            return False
        if news.state is present and present in SETTLED:
            return False
        self._bring_forward(row, news)
        session.flush()
        self._on_order(session, row)
        self._announce(session, Topic.ORDER, row.id, account)
        return True

    def apply_to_sent(self, session: Session, row: Order, user_id: str, news: Outcome) -> bool:
        """The same of an order of this user that was sent just now, without reading it again.

        `row` is what was written then; no session may hold it. False, and nothing is done, when something else has
        brought the order forward since.
        """
        self._bring_forward(row, news)
        values = {name: getattr(row, name) for name in OUTCOME_COLUMNS}
        if not repository.settle_sent(session, row.tenant_id, row.id, values):
            return False
        self._on_order(session, row)
        change = Change(Topic.ORDER, row.id, user_id, row.account_id)
        after_commit(session, lambda: self._bus.publish(change))
        return True

    def _bring_forward(self, row: Order, news: Outcome) -> None:
        row.state, row.retcode, row.message = news.state, news.retcode, news.message[:300]
        row.order_ticket, row.deal_ticket = news.order_ticket, news.deal_ticket
        row.price = news.price or row.price
        if news.state in SETTLED:
            row.settled_at, row.look_again_at = self._clock.now(), None

    def record_snapshots(self, session: Session, statements: Sequence[Statement]) -> set[str]:
        """Keep what `account_info()` answered, and points of the equity curves. Returns the accounts that differ.

        Impossible amounts are logged and left out, and so is what is older than what is known.
        """
        rows, samples, changed = [], [], set()
        for each in statements:
            if each.known is not None and each.snapshot.taken_at < each.known.taken_at:
                continue
            try:
                row = _snapshot_row(each.account, each.snapshot)
            except ValueError as error:
                _log.warning("snapshot_unusable", account=each.account.id, error=str(error))
                continue
            rows.append(row)
            if _is_due(each.last_point, row, self._equity_interval):
                samples.append(_equity_sample(row))
            if each.known != _figures(row):
                changed.add(each.account.id)
        put_rows(session, AccountSnapshotRow, rows)
        put_rows(session, EquitySample, samples, keep=True)
        return changed

    def _foreign_order(self, account: Account, event: Event, body: OrderBody) -> Order:
        return Order(
            id=new_id("ord"),
            tenant_id=account.tenant_id,
            account_id=account.id,
            client_order_id=body.client_order_id,
            principal=body.principal[:80],
            epoch=event.epoch,
            kind=OrderKind.OTHER,
            side=Side.SELL if body.type % 2 else Side.BUY,
            symbol=body.symbol[:64],
            volume=body.volume,
            state=OrderState.PENDING,
            retcode=0,
            message="",
            order_ticket=0,
            deal_ticket=0,
            price=0.0,
            created_at=event.occurred_at,
        )

    def _announce(self, session: Session, topic: Topic, subject_id: str, account: Account) -> None:
        change = Change(topic, subject_id, account.user_id, account.id)
        after_commit(session, lambda: self._bus.publish(change))


def _snapshot_row(account: AccountColumns, seen: AccountSnapshot) -> dict[str, Any]:
    """Raises ValueError for impossible amounts."""
    return {
        "account_id": account.id,
        "tenant_id": account.tenant_id,
        "currency": seen.currency[:16],
        "balance": money(seen.balance),
        "equity": money(seen.equity),
        "profit": money(seen.profit),
        "margin": money(seen.margin),
        "margin_free": money(seen.margin_free),
        "positions": seen.positions,
        "broker_time": seen.broker_time,
        "taken_at": seen.taken_at,
    }


def _equity_sample(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "account_id": row["account_id"],
        "at": row["taken_at"],
        "tenant_id": row["tenant_id"],
        "broker_time": row["broker_time"],
        "balance": row["balance"],
        "equity": row["equity"],
    }


def _figures(row: dict[str, Any]) -> Figures:
    return Figures(row["taken_at"], row["balance"], row["equity"], row["profit"], row["positions"])


def _is_due(last: EquityPoint | None, row: dict[str, Any], interval: timedelta) -> bool:
    """Whether the curve gets a point: when something has changed, and the last point is `interval` old."""
    if last is None:
        return True
    changed = (last.balance, last.equity) != (row["balance"], row["equity"])
    return changed and row["taken_at"] - last.at >= interval


def never_compared(account_id: str, tenant_id: str) -> Reconciliation:
    """Of an account that was never compared."""
    return Reconciliation(
        account_id=account_id,
        tenant_id=tenant_id,
        requested_at=None,
        epoch=0,
        looked_at=None,
        finished_at=None,
        look_again_at=None,
        suspects=[],
        problem="",
        deals=0,
        orders=0,
        fetched=0,
        found=0,
    )
