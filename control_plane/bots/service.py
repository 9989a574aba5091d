"""Create, start, stop and delete bots; take in what the agents observe of them; show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.access.market import TIMEFRAMES
from control_plane.accounts.model import Account
from control_plane.accounts.service import require_account
from control_plane.assignments import repository as assignments_repository
from control_plane.audit.service import Audit, Deed
from control_plane.bots import repository
from control_plane.bots.model import Bot, BotLogLine, BotObservation
from control_plane.bots.repository import BotResult, BotView
from control_plane.bots.schemas import BotOut, CreateBot
from control_plane.bots.state import BotIntent
from control_plane.bots.strategies import check_parameters
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.db.tenancy import as_system
from control_plane.errors import ConflictError, NotFoundError, invalid_field
from control_plane.fleet.service import Fleet
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.money import money_text
from control_plane.preconditions import entity_tag, require_match
from control_plane.terminals import repository as terminals_repository
from node_agent.protocol.messages import BotLogBody, BotPhase, Event, ObservedBot

_FIRST_MAGIC = 770_000_001
"""Far from the small numbers that people give their own Expert Advisors."""


class Bots:
    def __init__(self, fleet: Fleet, audit: Audit, bus: Bus, clock: Clock) -> None:
        self._fleet = fleet
        self._audit = audit
        self._bus = bus
        self._clock = clock

    def create(self, session: Session, owner: Owner, wish: CreateBot) -> str:
        """A stopped bot; returns its id. Raises NotFoundError or InvalidInputError."""
        account = require_account(session, owner, wish.account_id)
        if wish.timeframe not in TIMEFRAMES:
            raise invalid_field("timeframe", f"There is no timeframe '{wish.timeframe}'.", code="unknown_timeframe")
        parameters = check_parameters(wish.strategy, wish.parameters)
        with as_system(session):  # the broker knows the login alone, not whose tenant connected it
            highest = repository.highest_magic(session, account.server, account.login)
        now = self._clock.now()
        bot = Bot(
            id=new_id("bot"),
            tenant_id=owner.tenant_id,
            account_id=account.id,
            name=wish.name,
            strategy=wish.strategy,
            symbol=wish.symbol,
            timeframe=wish.timeframe,
            volume=wish.volume,
            parameters=parameters,
            magic=_FIRST_MAGIC if highest is None else highest + 1,
            revision=1,
            intent=BotIntent.STOPPED,
            changed_at=now,
            created_at=now,
        )
        session.add(bot)
        session.flush()
        facts = {"strategy": bot.strategy, "symbol": bot.symbol, "volume": bot.volume, "parameters": bot.parameters}
        self._record(session, owner, bot, "create_bot", {"account": account.id, **facts})
        self._announce(session, bot.id, account.id, owner.user_id)
        return bot.id

    def start(self, session: Session, owner: Owner, bot_id: str) -> None:
        """Each start is a new revision, so that a bot that failed for good is tried again."""
        bot = require_bot(session, owner, bot_id).bot
        if bot.intent != BotIntent.RUNNING:
            bot.revision += 1
            self._record(session, owner, bot, "start_bot", {"revision": bot.revision})
            self._set_intent(session, owner, bot, BotIntent.RUNNING)

    def stop(self, session: Session, owner: Owner, bot_id: str) -> None:
        bot = require_bot(session, owner, bot_id).bot
        if bot.intent != BotIntent.STOPPED:
            self._record(session, owner, bot, "stop_bot")
            self._set_intent(session, owner, bot, BotIntent.STOPPED)

    def delete(self, session: Session, owner: Owner, bot_id: str) -> None:
        """Raises ConflictError while the bot should run or still does."""
        view = require_bot(session, owner, bot_id)
        if view.bot.intent != BotIntent.STOPPED or _phase(view) is not BotPhase.STOPPED:
            raise ConflictError("Stop the bot before you delete it.", code="bot_not_stopped")
        view.bot.deleted_at = self._clock.now()
        self._record(session, owner, view.bot, "delete_bot")

    def observe(self, session: Session, seen: Mapping[str, Iterable[ObservedBot]]) -> None:
        """Take in the whole of what runs for accounts, by their ids: a bot that is not mentioned does not run."""
        reported = {(account_id, each.bot_id): each for account_id, bots in seen.items() for each in bots}
        for known in repository.observed(session, seen.keys()):
            bot = known.bot
            if self._write_observation(session, bot, known.observation, reported.get((bot.account_id, bot.id))):
                self._announce(session, bot.id, bot.account_id, known.user_id)

    def record_log(self, session: Session, account: Account, event: Event, body: BotLogBody) -> bool:
        """Write a log line down once. Returns False when the account has no such bot."""
        bot = repository.of_account(session, account.tenant_id, account.id, body.bot_id)
        if bot is None:
            return False
        if not repository.known_log_events(session, bot.id, [event.event_id]):
            session.add(
                BotLogLine(
                    id=new_id("blo"),
                    tenant_id=account.tenant_id,
                    bot_id=bot.id,
                    event_id=event.event_id,
                    at=event.occurred_at,
                    level=body.level,
                    text=body.text,
                )
            )
            session.flush()
        return True

    def announce_by_magic(self, session: Session, account: Account, magic: int) -> None:
        """A deal of this magic number has been recorded, so a bot's figures have changed."""
        bot = repository.by_magic(session, account.tenant_id, account.id, magic)
        if bot is not None:
            self._announce(session, bot.id, account.id, account.user_id)

    def _record(
        self, session: Session, owner: Owner, bot: Bot, action: str, after: Mapping[str, object] | None = None
    ) -> None:
        self._audit.record(session, owner.tenant_id, Deed(owner.user_id, action, bot.id, "", after=after))

    def _write_observation(
        self, session: Session, bot: Bot, row: BotObservation | None, seen: ObservedBot | None
    ) -> bool:
        if seen is None:
            if row is None or row.phase == BotPhase.STOPPED:
                return False
            row.phase, row.reason, row.since = BotPhase.STOPPED, "", self._clock.now()
            return True
        before = None if row is None else (row.phase, row.reason, row.restarts, row.revision)
        if row is None:
            row = BotObservation(bot_id=bot.id, tenant_id=bot.tenant_id)
            session.add(row)
        row.phase, row.reason, row.since = seen.phase, seen.reason[:300], seen.since
        row.restarts, row.revision = seen.restarts, seen.revision
        return before != (row.phase, row.reason, row.restarts, row.revision)

    def _set_intent(self, session: Session, owner: Owner, bot: Bot, intent: BotIntent) -> None:
        bot.intent, bot.changed_at = intent, self._clock.now()
        terminal = terminals_repository.of_account(session, owner.tenant_id, bot.account_id)
        assignment = assignments_repository.alive(session, owner.tenant_id, terminal.id)
        if assignment is not None:
            self._fleet.desired_changed(session, assignment.node_id)
        self._announce(session, bot.id, bot.account_id, owner.user_id)

    def _announce(self, session: Session, bot_id: str, account_id: str, user_id: str) -> None:
        change = Change(Topic.BOT, bot_id, user_id, account_id)
        after_commit(session, lambda: self._bus.publish(change))


def require_bot(session: Session, owner: Owner, bot_id: str) -> BotView:
    """Raises NotFoundError for a bot that is not this user's."""
    view = repository.view(session, owner, bot_id)
    if view is None:
        raise NotFoundError("There is no such bot.", code="bot_not_found")
    return view


def bot_tag(bot: Bot) -> str:
    return entity_tag(bot.id, bot.revision, bot.intent)


def require_seen(session: Session, owner: Owner, bot_id: str, if_match: str | None) -> None:
    """That the bot, held from now on, is as the caller has seen it. Raises as `require_match`, and NotFoundError."""
    if if_match is not None:
        require_bot(session, owner, bot_id)
        require_match(if_match, bot_tag(repository.held(session, owner.tenant_id, bot_id)))


def present_bots(session: Session, tenant_id: str, views: list[BotView], now: datetime) -> list[BotOut]:
    results = repository.results(session, tenant_id, [view.bot for view in views])
    return [_present(view, results.get(view.bot.id), now) for view in views]


def _present(view: BotView, result: BotResult | None, now: datetime) -> BotOut:
    bot, seen = view.bot, view.observation
    phase = _phase(view)
    reported = seen is not None and phase == seen.phase
    return BotOut(
        id=bot.id,
        account_id=bot.account_id,
        name=bot.name,
        strategy=bot.strategy,
        symbol=bot.symbol,
        timeframe=bot.timeframe,
        volume=bot.volume,
        parameters=bot.parameters,
        magic=bot.magic,
        intent=BotIntent(bot.intent),
        phase=phase,
        reason=seen.reason if seen and reported else "",
        since=min(seen.since if seen and reported else bot.changed_at, now),
        restarts=seen.restarts if seen else 0,
        trades=result.trades if result else 0,
        profit=money_text(result.profit) if result else "0.00",
        created_at=bot.created_at,
    )


def _phase(view: BotView) -> BotPhase:
    """A start that no agent has reported on yet shows as starting, not as the end of the run before."""
    bot, seen = view.bot, view.observation
    if bot.intent == BotIntent.RUNNING:
        return BotPhase(seen.phase) if seen and seen.revision == bot.revision else BotPhase.STARTING
    if seen is None or seen.phase == BotPhase.FAILED:
        return BotPhase.STOPPED
    return BotPhase(seen.phase)
