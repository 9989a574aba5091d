"""Tells users what holds at their accounts and what time brings: stale terminals, limits, reports, digests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from operator import methodcaller

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from control_plane.access.port import TerminalDoor
from control_plane.access.service import answering_target, ask
from control_plane.alerts import repository
from control_plane.alerts.model import AlertNotice, AlertPreferences, AlertThreshold
from control_plane.alerts.repository import Watched, WatchedAccount
from control_plane.alerts.rules import (
    FOLD,
    AccountFacts,
    Changes,
    Key,
    Report,
    Threshold,
    Told,
    changes,
    conditions,
    newest_report,
)
from control_plane.alerts.service import Alerts, wishes_of
from control_plane.alerts.state import AlertEvent, ThresholdKind
from control_plane.alerts.telegram import TelegramError
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import FarmError
from control_plane.identity.owner import Owner
from control_plane.money import money_text
from control_plane.terminals.state import ANSWERING_PHASES, Hold, Intent, should_run
from node_agent.protocol.messages import Reason

_PAGE = 200
_LOST_FOR = timedelta(seconds=60)
"""An order whose answer was lost for less is still being looked for."""
_REPORTS_EVERY = timedelta(minutes=1)
_ABOUT_PRICE = frozenset({ThresholdKind.PRICE_ABOVE, ThresholdKind.PRICE_BELOW})
_log = structlog.get_logger(__name__)


class AlertWatch:
    def __init__(self, database: Database, alerts: Alerts, door: TerminalDoor, clock: Clock) -> None:
        self._database = database
        self._alerts = alerts
        self._door = door
        self._clock = clock
        self._reports_at: datetime | None = None
        self._last_update = 0

    def run_once(self) -> None:
        self._alerts.hand_over()
        after = ""
        while True:
            with self._database.read_as_system() as session:
                rows = repository.watched(session, after, _PAGE)
            if not rows:
                break
            self._watch(rows)
            after = rows[-1].account.id
        self._write_reports()
        self._listen_to_telegram()

    def _watch(self, rows: Sequence[Watched]) -> None:
        """A page of accounts."""
        now = self._clock.now()
        ids = [row.account.id for row in rows]
        with self._database.read_as_system() as session:
            unknown = _by_first(repository.unknown_orders(session, ids, now - _LOST_FOR))
            bots = _by_first(repository.stopped_bots(session, ids))
            thresholds: dict[str, list[AlertThreshold]] = defaultdict(list)
            for each in repository.thresholds_of(session, ids):
                thresholds[each.account_id].append(each)
            peaks = repository.peaks(session, ids)
            told: dict[str, dict[Key, AlertNotice]] = defaultdict(dict)
            for notice in repository.lasting(session, ids, now - FOLD):
                told[notice.account_id][AlertEvent(notice.event), notice.subject_id] = notice
            wishes = repository.all_preferences(session, {row.account.user_id for row in rows})
        for row in rows:
            account = row.account
            limits = thresholds[account.id]
            facts = _facts(
                row, peaks.get(account.id), unknown[account.id], bots[account.id], limits, self._prices(account, limits)
            )
            self._judge(account, facts, told[account.id], wishes.get(account.user_id), now)
            self._tell_of_move(row)

    def _judge(
        self,
        account: WatchedAccount,
        facts: AccountFacts,
        told: Mapping[Key, AlertNotice],
        preferences: AlertPreferences | None,
        now: datetime,
    ) -> None:
        open_keys = {key for key, each in told.items() if each.resolved_at is None}
        holding = conditions(facts, wishes_of(preferences), open_keys, now)
        known = [Told(key[0], key[1], each.resolved_at) for key, each in told.items()]
        found = changes(known, holding, now)
        if found != Changes((), (), ()):
            try:
                self._write(account, found)
            except IntegrityError:
                _log.info("alert_told_elsewhere", account=account.id)

    def _write(self, account: WatchedAccount, found: Changes) -> None:
        owner = Owner(account.tenant_id, account.user_id)
        with self._database.write(account.tenant_id) as session:
            for condition in found.raised:
                before = repository.newest_of(session, owner.user_id, *condition.key)
                if before is None or before.resolved_at is not None:
                    self._alerts.raise_condition(session, owner, condition, before.id if before else "")
            for condition in found.reopened:
                again = repository.newest_of(session, owner.user_id, *condition.key)
                if again is not None and again.resolved_at is not None:
                    self._alerts.reopen(session, again)
            for key in found.resolved:
                over = repository.newest_of(session, owner.user_id, *key)
                if over is not None and over.resolved_at is None:
                    self._alerts.resolve(session, over)

    def _tell_of_move(self, row: Watched) -> None:
        account, assignment = row.account, row.assignment
        if assignment is None or not repository.is_moved(assignment):
            return
        key = f"{assignment.terminal_id}:{assignment.epoch}"
        with self._database.read(account.tenant_id) as session:
            if repository.notice_by_key(session, account.user_id, f"{AlertEvent.ACCOUNT_MOVED}:{key}") is not None:
                return
        with self._database.write(account.tenant_id) as session:
            self._alerts.tell(
                session,
                Owner(account.tenant_id, account.user_id),
                AlertEvent.ACCOUNT_MOVED,
                assignment.id,
                f"{account.label}: the terminal started anew",
                "It runs on the node that the farm has given it now; its positions were the broker's all the time.",
                key=key,
                account_id=account.id,
            )

    def _prices(self, account: WatchedAccount, thresholds: Sequence[AlertThreshold]) -> dict[str, Decimal]:
        """Bids of the symbols that limits are about, as far as the terminal answers."""
        symbols = sorted({each.symbol for each in thresholds if each.kind in _ABOUT_PRICE})
        if not symbols:
            return {}
        owner = Owner(account.tenant_id, account.user_id)
        found = {}
        try:
            with self._database.read(account.tenant_id) as session:
                target = answering_target(session, owner, account.id, self._clock)
            for symbol in symbols:
                tick = ask(self._door, target, methodcaller("symbol_info_tick", symbol))
                if tick is not None and tick.bid > 0:
                    found[symbol] = Decimal(repr(float(tick.bid)))
        except FarmError:
            pass  # what cannot be asked now is asked in the next round
        return found

    def _write_reports(self) -> None:
        now = self._clock.now()
        if self._reports_at is not None and now - self._reports_at < _REPORTS_EVERY:
            return
        self._reports_at = now
        with self._database.read_as_system() as session:
            users = repository.users_with_accounts(session)
            wished = repository.all_preferences(session, [user_id for user_id, _ in users])
        for user_id, tenant_id in users:
            report = newest_report(wishes_of(wished.get(user_id)), now)
            with self._database.read(tenant_id) as session:
                user = repository.user(session, user_id)
                known = repository.notice_by_key(session, user_id, f"{AlertEvent.DAILY_REPORT}:{report.day}")
            if user is None or known is not None or user.created_at > report.due_at:
                continue
            with self._database.write(tenant_id) as session:
                self._report(session, Owner(tenant_id, user_id), report)

    def _report(self, session: Session, owner: Owner, report: Report) -> None:
        day = report.day.isoformat()
        lines = []
        for account, snapshot in repository.accounts_of(session, owner.user_id):
            closed, brought = repository.figures(session, account.id, report.since, report.due_at)
            equity = (
                "no figures yet" if snapshot is None else f"equity {money_text(snapshot.equity)} {snapshot.currency}"
            )
            lines.append(f"{account.label}: {equity}, {closed} closing deals, result {money_text(brought)}.")
        text = " ".join(lines)
        self._alerts.tell(session, owner, AlertEvent.DAILY_REPORT, day, f"Report of {day}", text, key=day)

    def _listen_to_telegram(self) -> None:
        """Codes that people have sent to the bot."""
        if self._alerts.telegram is None:
            return
        try:
            for said in self._alerts.telegram.incoming(self._last_update):
                self._last_update = max(self._last_update, said.update_id)
                if self._alerts.link_telegram(said):
                    self._alerts.telegram.send(said.chat_id, "This chat gets your alerts from now on.", silent=True)
        except TelegramError as error:
            _log.warning("telegram_unreachable", error=str(error))


def _facts(
    row: Watched,
    peak: Decimal | None,
    unknown: Sequence[tuple[str, ...]],
    bots: Sequence[tuple[str, ...]],
    thresholds: Sequence[AlertThreshold],
    prices: Mapping[str, Decimal],
) -> AccountFacts:
    account, terminal, observation, assignment, snapshot = (
        row.account,
        row.terminal,
        row.observation,
        row.assignment,
        row.figures,
    )
    current = observation if assignment and observation and observation.epoch == assignment.epoch else None
    answers = current is not None and current.phase in ANSWERING_PHASES
    answered_at = current.last_answer_at if current is not None else None
    since = terminal.changed_at if answered_at is None else max(terminal.changed_at, answered_at)
    if answers and current is not None:
        since = max(since, min(current.reported_at, answered_at or current.reported_at))
    return AccountFacts(
        account_id=account.id,
        label=account.label or str(account.login),
        should_run=should_run(Intent(terminal.intent), Hold(terminal.hold)),
        silent_since=since,
        login_refused=current is not None and current.reason == Reason.BAD_CREDENTIALS,
        equity=None if snapshot is None else snapshot.equity,
        peak=None if snapshot is None else max(peak or snapshot.equity, snapshot.equity),
        margin=Decimal(0) if snapshot is None else snapshot.margin,
        unknown_orders=tuple(each[0] for each in unknown),
        stopped_bots=tuple((each[0], each[1]) for each in bots),
        thresholds=tuple(Threshold(each.id, ThresholdKind(each.kind), each.symbol, each.value) for each in thresholds),
        prices=prices,
    )


def _by_first(rows: Sequence[tuple[str, ...]]) -> dict[str, list[tuple[str, ...]]]:
    """The rest of each row, by its first value."""
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for first, *rest in rows:
        found[first].append(tuple(rest))
    return found
