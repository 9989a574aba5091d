"""Keep the trade log: deals, orders of bots and equity, as the terminals report them. All of it may come twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.model import Account, AccountSnapshotRow
from control_plane.accounts.repository import Figures
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.bulk import put_rows
from control_plane.db.engine import after_commit
from control_plane.db.types import money
from control_plane.ids import new_id
from control_plane.trading import outcome, repository
from control_plane.trading.model import Deal, EquitySample, Order
from control_plane.trading.outcome import Outcome
from control_plane.trading.repository import EquityPoint
from control_plane.trading.settlement import FIRST_LOOK_AT_FOREIGN
from control_plane.trading.state import SETTLED, OrderKind, OrderState, Side, may_become
from node_agent.protocol.messages import AccountSnapshot, DealBody, Event, OrderBody

_log = structlog.get_logger(__name__)


OrderWatch = Callable[[Session, Account, Order], None]
"""Told of every change of an order, in its transaction."""


class TradeLog:
    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        equity_interval: timedelta,
        *,
        on_order: OrderWatch = lambda _session, _account, _order: None,
        on_deal: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_deal` is called once a deal is committed."""
        self._bus = bus
        self._on_order = on_order
        self._on_deal = on_deal
        self._clock = clock
        self._equity_interval = equity_interval

    def record_deal(self, session: Session, account: Account, body: DealBody, epoch: int) -> bool:
        """Write a deal down once. Returns False when it is known. Raises ValueError for impossible amounts."""
        if body.ticket in repository.known_deals(session, account.id, [body.ticket]):
            return False
        row = Deal(
            id=new_id("dea"),
            tenant_id=account.tenant_id,
            account_id=account.id,
            ticket=body.ticket,
            order_ticket=body.order,
            position_ticket=body.position_id,
            symbol=body.symbol[:64],
            type=body.type,
            entry=body.entry,
            reason=body.reason,
            volume=body.volume,
            price=body.price,
            profit=money(body.profit),
            commission=money(body.commission),
            swap=money(body.swap),
            fee=money(body.fee),
            magic=body.magic,
            comment=body.comment[:128],
            external_id=body.external_id[:128],
            broker_time_msc=body.time_msc,
            epoch=epoch,
            recorded_at=self._clock.now(),
        )
        session.add(row)
        session.flush()
        self._announce(session, Topic.DEAL, row.id, account)
        after_commit(session, self._on_deal)
        return True

    def record_order(self, session: Session, account: Account, event: Event, body: OrderBody) -> None:
        """Take in a row of the bridge's journal: news of an order placed here, or an order of a bot or a script."""
        row = repository.order_by_client_id(session, account.tenant_id, account.id, body.client_order_id)
        if row is None:
            row = self._foreign_order(account, event, body)
            session.add(row)
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
        row.state, row.retcode, row.message = news.state, news.retcode, news.message[:300]
        row.order_ticket, row.deal_ticket = news.order_ticket, news.deal_ticket
        row.price = news.price or row.price
        if news.state in SETTLED:
            row.settled_at, row.look_again_at = self._clock.now(), None
        session.flush()
        self._on_order(session, account, row)
        self._announce(session, Topic.ORDER, row.id, account)
        return True

    def record_snapshots(self, session: Session, seen: Sequence[tuple[Account, AccountSnapshot]]) -> set[str]:
        """Keep what `account_info()` answered, and points of the equity curves. Returns the accounts that differ.

        Impossible amounts are logged and left out, and so is what is older than what is known.
        """
        before = accounts_repository.figures(session, [account.id for account, _ in seen])
        rows = []
        for account, snapshot in seen:
            known = before.get(account.id)
            if known is None or snapshot.taken_at >= known.taken_at:
                try:
                    rows.append(_snapshot_row(account, snapshot))
                except ValueError as error:
                    _log.warning("snapshot_unusable", account=account.id, error=str(error))
        put_rows(session, AccountSnapshotRow, rows)
        self._sample_equity(session, rows)
        return {row["account_id"] for row in rows if before.get(row["account_id"]) != _figures(row)}

    def _sample_equity(self, session: Session, rows: Sequence[dict[str, Any]]) -> None:
        last = repository.last_equities(session, [row["account_id"] for row in rows])
        samples = [
            {
                "account_id": row["account_id"],
                "at": row["taken_at"],
                "tenant_id": row["tenant_id"],
                "broker_time": row["broker_time"],
                "balance": row["balance"],
                "equity": row["equity"],
            }
            for row in rows
            if _is_due(last.get(row["account_id"]), row, self._equity_interval)
        ]
        put_rows(session, EquitySample, samples, keep=True)

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


def _snapshot_row(account: Account, seen: AccountSnapshot) -> dict[str, Any]:
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


def _figures(row: dict[str, Any]) -> Figures:
    return Figures(row["taken_at"], row["balance"], row["equity"], row["profit"], row["positions"])


def _is_due(last: EquityPoint | None, row: dict[str, Any], interval: timedelta) -> bool:
    """Whether the curve gets a point: when something has changed, and the last point is `interval` old."""
    if last is None:
        return True
    changed = (last.balance, last.equity) != (row["balance"], row["equity"])
    return changed and row["taken_at"] - last.at >= interval
