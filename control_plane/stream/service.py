"""Turn changes into the bodies that their owner may see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy.orm import Session

from control_plane.accounts.service import present_account
from control_plane.accounts.shown import shown
from control_plane.alerts import repository as alerts_repository
from control_plane.alerts.schemas import NoticeEvent
from control_plane.alerts.service import present_notice
from control_plane.bots import repository as bots_repository
from control_plane.bots.service import present_bots
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.identity.owner import Owner
from control_plane.stream.frames import frame, heartbeat, opening, reset
from control_plane.stream.places import StreamPlaces
from control_plane.together import Together
from control_plane.trading import book_rows
from control_plane.trading import repository as trading_repository
from control_plane.trading.presentation import present_deal, present_order
from control_plane.trading.schemas import DealOut

HEARTBEAT_SECONDS = 15.0
BREATH_SECONDS = 0.25
"""What comes so soon after other changes is told together, and of many changes of one account only the last. For so
long streams of one tenant are gathered as well, once several have something to tell."""
BUSY_BREATH_SECONDS = 1.0
"""The same on a stream of which one telling had `_BUSY` changes and more: to tell costs nearly the same for many."""
_BUSY = 5


class DealEvent(BaseModel):
    account_id: str
    deal: DealOut


class GuardEvent(BaseModel):
    """Something about the guard of an account has changed; `GET /accounts/{id}/guard` has it."""

    account_id: str


@dataclass(frozen=True)
class Wish:
    """What the stream of one owner has been told of: changes, each after its position."""

    owner: Owner
    changes: tuple[tuple[str, Change], ...]


class LiveUpdates:
    def __init__(self, database: Database, bus: Bus, places: StreamPlaces, clock: Clock) -> None:
        self.places = places
        self._database = database
        self._bus = bus
        self._clock = clock
        self._together: Together[Wish, str] = Together(self.read, breath_seconds=BREATH_SECONDS)

    async def events(
        self, owner: Owner, after: str | None, still_allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[str]:
        """SSE frames for one user, in pieces of one or several, until the bus closes or the session ends.

        `after` is the id of the last event that they have seen; what has changed since comes first or, when that is not
        known any more, the event `reset`.
        """
        subscription = self._bus.subscribe(owner.user_id, after)
        asked_at = self._clock.now()
        timeout = 0.0
        try:
            yield opening()
            while (batch := await subscription.next(timeout)) is not None:
                # By the clock, since a farm that trades is never quiet for so long.
                if timeout and (
                    not batch.changes or (self._clock.now() - asked_at).total_seconds() >= HEARTBEAT_SECONDS
                ):
                    if not await still_allowed():
                        return
                    asked_at = self._clock.now()
                if batch.gap:
                    yield reset(batch.position)
                if batch.changes and (frames := await self._together.ask(owner.tenant_id, Wish(owner, batch.changes))):
                    yield frames
                if not timeout or not batch.changes:
                    yield heartbeat(batch.position, live=not self._bus.problem)
                timeout = HEARTBEAT_SECONDS
                if batch.changes:
                    await asyncio.sleep(BUSY_BREATH_SECONDS if len(batch.changes) >= _BUSY else BREATH_SECONDS)
        finally:
            subscription.close()

    def read(self, tenant_id: str, wishes: Sequence[Wish]) -> list[str]:
        """The frames of each. What several browsers of a user are told of an account is put into words once."""
        changed = {change.subject_id for wish in wishes for _, change in wish.changes if change.topic is Topic.ACCOUNT}
        with self._database.read(tenant_id) as session:
            now = self._clock.now()
            accounts = {
                account_id: (view.account.user_id, present_account(view, now).model_dump_json())
                for account_id, view in shown(session, tenant_id, changed).items()
            }
            return [self._frames(session, wish, accounts) for wish in wishes]

    def _frames(self, session: Session, wish: Wish, accounts: Mapping[str, tuple[str, str]]) -> str:
        """`accounts` are those of the whole tenant, each with its owner."""
        frames = []
        for position, change in wish.changes:
            if change.topic is Topic.ACCOUNT:
                user_id, text = accounts.get(change.subject_id, ("", ""))
                if user_id == wish.owner.user_id:
                    frames.append(frame(change.topic, position, text))
            elif (body := self._body(session, wish.owner, change)) is not None:
                frames.append(frame(change.topic, position, body.model_dump_json()))
        return "".join(frames)

    def _body(  # noqa: PLR0911 - one for each topic
        self, session: Session, owner: Owner, change: Change
    ) -> BaseModel | None:
        match change.topic:
            case Topic.BOT:
                bot = bots_repository.view(session, owner, change.subject_id)
                return None if bot is None else present_bots(session, owner.tenant_id, [bot], self._clock.now())[0]
            case Topic.DEAL:
                return _deal_event(session, owner, change)
            case Topic.ORDER:
                order = trading_repository.order(session, owner.tenant_id, change.subject_id)
                if order is None:
                    return None
                tickets = [order.deal_ticket] if order.deal_ticket else []
                entries = trading_repository.entries_of_deals(session, owner.tenant_id, order.account_id, tickets)
                return present_order(order, entries)
            case Topic.NOTICE:
                return _notice_event(session, owner, change)
            case Topic.GUARD:
                return GuardEvent(account_id=change.account_id)
            case Topic.ACCOUNT | Topic.GENERATION | Topic.COPIER:
                return None


def _notice_event(session: Session, owner: Owner, change: Change) -> NoticeEvent | None:
    notice = alerts_repository.notice(session, change.subject_id)
    if notice is None or notice.user_id != owner.user_id:
        return None
    return NoticeEvent(notice=present_notice(notice), unread=alerts_repository.count_unread(session, owner))


def _deal_event(session: Session, owner: Owner, change: Change) -> DealEvent | None:
    deal = trading_repository.deal(session, owner.tenant_id, change.subject_id)
    if deal is None:
        return None
    bots = bots_repository.names_by_magic(session, owner.tenant_id, deal.account_id)
    corrections = book_rows.corrections(session, deal.account_id, [deal.ticket])
    return DealEvent(account_id=deal.account_id, deal=present_deal(deal, bots, corrections))
