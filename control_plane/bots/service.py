"""Create, start, stop and delete bots; take in what the agents observe of them; show them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.market import TIMEFRAMES
from control_plane.accounts.model import Account
from control_plane.accounts.service import require_account
from control_plane.assignments import repository as assignments_repository
from control_plane.audit.service import Audit, Deed
from control_plane.bots import repository
from control_plane.bots.model import Bot, BotChange, BotLogLine, BotObservation, PaperDeal
from control_plane.bots.repository import BotResult, BotView
from control_plane.bots.schemas import BotOut, CreateBot, PaperDealOut, UpdateBot
from control_plane.bots.state import ALIVE, BotIntent, may_become
from control_plane.bots.strategies import check_parameters
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.db.tenancy import as_system
from control_plane.db.types import money
from control_plane.entitlements import service as entitlements_service
from control_plane.entitlements.decision import BotWish, Entitlements, refusal
from control_plane.entitlements.plans import kind_of
from control_plane.errors import ConflictError, ForbiddenError, NotFoundError, invalid_field
from control_plane.fleet.service import Fleet
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.money import money_text
from control_plane.preconditions import entity_tag, require_match
from control_plane.strategies import repository as strategies_repository
from control_plane.strategies.service import check_custom_parameters
from control_plane.terminals import repository as terminals_repository
from node_agent.protocol.messages import BotLogBody, BotPhase, Event, ObservedBot, PaperFill

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
        parameters = self._check(session, owner, wish.strategy, wish.timeframe, wish.parameters)
        self._require_entitled(session, owner, account.id, wish.strategy, wish.symbol, paper=wish.paper)
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
            paper=wish.paper,
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
            self._require_entitled(session, owner, bot.account_id, bot.strategy, bot.symbol, bot.id, paper=bot.paper)
            # One that is paused runs already, and goes on.
            bot.revision += bot.intent == BotIntent.STOPPED
            self._record(session, owner, bot, "start_bot", {"revision": bot.revision})
            self._set_intent(session, owner, bot, BotIntent.RUNNING)

    def pause(self, session: Session, owner: Owner, bot_id: str) -> None:
        """It keeps running and opens nothing. Raises ConflictError for one that does not run."""
        self._become(session, owner, bot_id, BotIntent.PAUSED, "pause_bot")

    def finish(self, session: Session, owner: Owner, bot_id: str) -> None:
        """It opens nothing, and is stopped once it holds nothing. Raises ConflictError for one that does not run."""
        bot = self._become(session, owner, bot_id, BotIntent.FINISHING, "finish_bot")
        self._stop_when_flat(session, bot, owner.user_id)

    def change(self, session: Session, owner: Owner, bot_id: str, wish: UpdateBot) -> None:
        """New settings, noted in the bot's history. Raises NotFoundError, InvalidInputError."""
        bot = require_bot(session, owner, bot_id).bot
        asked = wish.model_dump(exclude_none=True)
        before = _settings(bot)
        after = {**before, **asked}
        after["parameters"] = self._check(
            session, owner, after["strategy"], after["timeframe"], after["parameters"], before["strategy"]
        )
        self._require_entitled(
            session, owner, bot.account_id, after["strategy"], after["symbol"], bot.id, paper=after["paper"]
        )
        if after != before:
            self._apply(session, owner, bot, before, after)

    def restore(self, session: Session, owner: Owner, bot_id: str, change_id: str) -> None:
        """Back to the settings from before a change. Raises NotFoundError, InvalidInputError."""
        require_bot(session, owner, bot_id)
        row = repository.change(session, owner.tenant_id, bot_id, change_id)
        if row is None:
            raise NotFoundError("The bot has no such change.", code="change_not_found")
        self.change(session, owner, bot_id, UpdateBot.model_validate(row.before))

    def _apply(self, session: Session, owner: Owner, bot: Bot, before: dict[str, Any], after: dict[str, Any]) -> None:
        # A new name is no reason to start it anew.
        needs_start = {**before, "name": ""} != {**after, "name": ""}
        for name, value in after.items():
            setattr(bot, name, value)
        bot.revision += 1 if needs_start else 0
        bot.changed_at = self._clock.now()
        session.add(
            BotChange(
                id=new_id("bch"),
                tenant_id=bot.tenant_id,
                bot_id=bot.id,
                at=bot.changed_at,
                by=owner.user_id,
                revision=bot.revision,
                before=before,
                after=after,
            )
        )
        session.flush()
        self._record(session, owner, bot, "change_bot", {"revision": bot.revision, **after})
        self._set_intent(session, owner, bot, BotIntent(bot.intent))

    def _become(self, session: Session, owner: Owner, bot_id: str, wanted: BotIntent, deed: str) -> Bot:
        bot = require_bot(session, owner, bot_id).bot
        if not may_become(BotIntent(bot.intent), wanted):
            raise ConflictError("The bot does not run; start it first.", code="bot_not_running")
        if bot.intent != wanted:
            self._record(session, owner, bot, deed)
            self._set_intent(session, owner, bot, wanted)
        return bot

    def _stop_when_flat(self, session: Session, bot: Bot, user_id: str) -> None:
        """One that is finishing, once the recorded deals leave nothing of it open."""
        holds = repository.holds_on_paper if bot.paper else repository.holds_positions
        if bot.intent != BotIntent.FINISHING or holds(session, bot):
            return
        owner = Owner(bot.tenant_id, user_id)
        self._record(session, owner, bot, "bot_finished")
        self._set_intent(session, owner, bot, BotIntent.STOPPED)

    def _check(
        self,
        session: Session,
        owner: Owner,
        strategy: str,
        timeframe: str,
        parameters: Mapping[str, int | float],
        present: str | None = None,
    ) -> dict[str, int | float]:
        """Parameters with defaults filled in; those of another strategy than the `present` one are dropped."""
        if timeframe not in TIMEFRAMES:
            raise invalid_field("timeframe", f"There is no timeframe '{timeframe}'.", code="unknown_timeframe")
        version = strategies_repository.version(session, owner, strategy)
        if version is None:
            return dict(check_parameters(strategy, parameters))
        if present is not None and present != strategy:
            known = {each["name"] for each in version.parameters}
            parameters = {name: value for name, value in parameters.items() if name in known}
        return check_custom_parameters(version, parameters)

    def _require_entitled(
        self,
        session: Session,
        owner: Owner,
        account_id: str,
        strategy: str,
        symbol: str,
        bot_id: str = "",
        *,
        paper: bool,
    ) -> None:
        beside = [each for each in repository.running_of_user(session, owner) if each.id != bot_id]
        wish = self._wish(session, owner, account_id, strategy, symbol, beside, paper=paper)
        refused = refusal(entitlements_service.held_by_one(session, owner.user_id), wish)
        if refused is not None:
            raise ForbiddenError(refused[1], code=refused[0])

    def _wish(
        self,
        session: Session,
        owner: Owner,
        account_id: str,
        strategy: str,
        symbol: str,
        beside: Collection[Bot],
        *,
        paper: bool,
    ) -> BotWish:
        return BotWish(
            symbol,
            kind_of(strategy, custom=strategies_repository.version(session, owner, strategy) is not None),
            paper=paper,
            running=len(beside),
            symbols=frozenset(each.symbol for each in beside if each.account_id == account_id),
        )

    def plan_changed(self, session: Session, owner: Owner, held: Entitlements, actor: str) -> list[str]:
        """Let bots finish that the user's new plan does not allow; of too many the oldest go on. Ids of those bots."""
        kept: list[Bot] = []
        ended = []
        for bot in repository.running_of_user(session, owner):
            wish = self._wish(session, owner, bot.account_id, bot.strategy, bot.symbol, kept, paper=bot.paper)
            refused = refusal(held, wish)
            if refused is None:
                kept.append(bot)
            elif bot.intent != BotIntent.FINISHING:
                deed = Deed(actor, "finish_bot", bot.id, refused[0], on_behalf_of=owner.user_id)
                self._audit.record(session, owner.tenant_id, deed)
                self._set_intent(session, owner, bot, BotIntent.FINISHING)
                self._stop_when_flat(session, bot, owner.user_id)
                ended.append(bot.id)
        return ended

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
            self._stop_when_flat(session, bot, known.user_id)
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
        if body.fill is not None and bot.paper:
            self._record_fill(session, account, bot, event, body.fill)
        return True

    def _record_fill(self, session: Session, account: Account, bot: Bot, event: Event, fill: PaperFill) -> None:
        if repository.knows_paper_deal(session, bot.id, event.event_id):
            return
        session.add(
            PaperDeal(
                id=new_id("pap"),
                tenant_id=account.tenant_id,
                bot_id=bot.id,
                event_id=event.event_id,
                at=event.occurred_at,
                broker_time=fill.time,
                position=fill.position,
                entry=fill.entry,
                side=fill.side,
                symbol=fill.symbol,
                volume=fill.volume,
                price=fill.price,
                profit=money(fill.profit),
            )
        )
        session.flush()
        self._stop_when_flat(session, bot, account.user_id)
        self._announce(session, bot.id, account.id, account.user_id)

    def announce_by_magic(self, session: Session, account: Account, magic: int) -> None:
        """A deal of this magic number has been recorded, so a bot's figures have changed."""
        bot = repository.by_magic(session, account.tenant_id, account.id, magic)
        if bot is not None:
            self._stop_when_flat(session, bot, account.user_id)
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


def _settings(bot: Bot) -> dict[str, Any]:
    """What a user may change of it."""
    return {name: getattr(bot, name) for name in UpdateBot.model_fields}


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
    bots = [view.bot for view in views]
    results = repository.results(session, tenant_id, [bot for bot in bots if not bot.paper])
    results |= repository.paper_results(session, tenant_id, [bot for bot in bots if bot.paper])
    return [_present(view, results.get(view.bot.id), now) for view in views]


def present_paper_deal(deal: PaperDeal, total: Decimal) -> PaperDealOut:
    shown = {name: getattr(deal, name) for name in PaperDealOut.model_fields if name not in ("profit", "total")}
    return PaperDealOut(**shown, profit=money_text(deal.profit), total=money_text(total))


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
        paper=bot.paper,
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
    if bot.intent in ALIVE:
        return BotPhase(seen.phase) if seen and seen.revision == bot.revision else BotPhase.STARTING
    if seen is None or seen.phase == BotPhase.FAILED:
        return BotPhase.STOPPED
    return BotPhase(seen.phase)
