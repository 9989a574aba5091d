"""What is told, to whom and when. Pure: facts, wishes and the time in, decisions out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from control_plane.alerts.state import URGENT, AlertEvent, Channel, Digest, Mode, ThresholdKind, default_mode

FOLD = timedelta(minutes=10)
"""What ends and begins again within this time is one story: counted, and not told anew."""
_RECOVERY = Decimal("0.95")
"""A figure has to come back by a twentieth of its limit before it counts as mended: one that plays around it would
otherwise be told with every tick."""
_MINUTES_OF_DAY = 24 * 60


@dataclass(frozen=True)
class Wishes:
    """What one user wants."""

    modes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    time_zone: str = "UTC"
    quiet_from: int | None = None
    """Minutes after midnight in the time zone."""
    quiet_until: int | None = None
    digest: Digest = Digest.DAILY
    stale_after: timedelta = timedelta(minutes=5)
    drawdown_percent: Decimal = Decimal(20)
    margin_level_percent: Decimal = Decimal(150)
    report_minute: int = 7 * 60

    def mode(self, event: AlertEvent, channel: Channel) -> Mode:
        wished = self.modes.get(event, {}).get(channel)
        return default_mode(event, channel) if wished is None else Mode(wished)


@dataclass(frozen=True)
class Threshold:
    id: str
    kind: ThresholdKind
    symbol: str
    value: Decimal


@dataclass(frozen=True)
class AccountFacts:
    """What is known of one account at one moment. Amounts in its currency."""

    account_id: str
    label: str
    should_run: bool
    silent_since: datetime | None = None
    """Since when its terminal does not answer; None while it does."""
    login_refused: bool = False
    equity: Decimal | None = None
    peak: Decimal | None = None
    """The highest equity known."""
    margin: Decimal = Decimal(0)
    unknown_orders: tuple[str, ...] = ()
    stopped_bots: tuple[tuple[str, str], ...] = ()
    """Id and name of those that should run and do not."""
    thresholds: tuple[Threshold, ...] = ()
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    """Bids by symbol."""

    @property
    def drawdown(self) -> Decimal | None:
        """Per cent below the peak."""
        if self.equity is None or self.peak is None or self.peak <= 0:
            return None
        return max(Decimal(0), (self.peak - self.equity) / self.peak * 100)

    @property
    def margin_level(self) -> Decimal | None:
        """Equity in per cent of margin; None when no margin is used."""
        return None if self.equity is None or self.margin <= 0 else self.equity / self.margin * 100


Key = tuple[AlertEvent, str]
"""An event and its subject."""


@dataclass(frozen=True)
class Condition:
    """Something that holds now and is worth telling."""

    event: AlertEvent
    subject_id: str
    account_id: str
    title: str
    text: str

    @property
    def key(self) -> Key:
        return self.event, self.subject_id


def conditions(facts: AccountFacts, wishes: Wishes, told: Collection[Key], now: datetime) -> list[Condition]:
    """All that holds. What has been told before (`told`) ends only when it has mended clearly."""
    found = [*_of_terminal(facts, wishes, now), *_of_money(facts, wishes, told)]
    found += [condition for each in facts.thresholds if (condition := _of_threshold(facts, each, told))]
    return found


@dataclass(frozen=True)
class Told:
    """A lasting notice, as far as folding goes."""

    event: AlertEvent
    subject_id: str
    resolved_at: datetime | None

    @property
    def key(self) -> Key:
        return self.event, self.subject_id


@dataclass(frozen=True)
class Changes:
    raised: tuple[Condition, ...]
    reopened: tuple[Condition, ...]
    """Happened again so soon that it is counted and not told."""
    resolved: tuple[Key, ...]


def changes(told: Iterable[Told], holding: Iterable[Condition], now: datetime) -> Changes:
    """What to do so that what is told is what holds. `told` has the newest notice of each key."""
    newest = {each.key: each for each in told}
    present = {each.key: each for each in holding}
    raised, reopened = [], []
    for key, condition in present.items():
        before = newest.get(key)
        if before is None or (before.resolved_at is not None and now - before.resolved_at > FOLD):
            raised.append(condition)
        elif before.resolved_at is not None:
            reopened.append(condition)
    resolved = tuple(key for key, each in newest.items() if each.resolved_at is None and key not in present)
    return Changes(tuple(raised), tuple(reopened), resolved)


@dataclass(frozen=True)
class Dispatch:
    """One channel that is to be told, and when. `digest` means with the next one."""

    channel: Channel
    silent: bool
    due_at: datetime
    digest: bool = False


def dispatches(event: AlertEvent, wishes: Wishes, now: datetime) -> list[Dispatch]:
    """Where to tell it besides the portal."""
    due_at = now if event in URGENT else end_of_quiet(wishes, now)
    found = []
    for channel in (Channel.EMAIL, Channel.WEBHOOK, Channel.TELEGRAM):
        mode = wishes.mode(event, channel)
        if mode is Mode.OFF:
            continue
        silent = mode is Mode.SILENT
        if silent and channel is Channel.EMAIL:
            found.append(Dispatch(channel, silent, next_digest(wishes, now), digest=True))
        else:
            # Programs sleep not: a webhook is told at once in any case.
            found.append(Dispatch(channel, silent, now if channel is Channel.WEBHOOK else due_at))
    return found


def end_of_quiet(wishes: Wishes, now: datetime) -> datetime:
    """`now` outside of quiet hours, else when they end."""
    if wishes.quiet_from is None or wishes.quiet_until is None or wishes.quiet_from == wishes.quiet_until:
        return now
    local = now.astimezone(ZoneInfo(wishes.time_zone))
    minute = local.hour * 60 + local.minute
    length = (wishes.quiet_until - wishes.quiet_from) % _MINUTES_OF_DAY
    if (minute - wishes.quiet_from) % _MINUTES_OF_DAY >= length:
        return now
    day = local.date() + timedelta(days=1 if wishes.quiet_until <= minute else 0)
    end = _moment(day, wishes.quiet_until, ZoneInfo(wishes.time_zone))
    return end if end > now else _moment(day, wishes.quiet_until, ZoneInfo(wishes.time_zone), again=True)


def next_digest(wishes: Wishes, now: datetime) -> datetime:
    """The next full hour, or the next morning at the time of the daily report; never within quiet hours."""
    if wishes.digest is Digest.HOURLY:
        due = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    else:
        due = next_report(wishes, now)
    return end_of_quiet(wishes, due)


def next_report(wishes: Wishes, now: datetime) -> datetime:
    """The next moment after `now` at which a daily report is due."""
    return _report_at(wishes, newest_report(wishes, now).day + timedelta(days=1))


@dataclass(frozen=True)
class Report:
    """A daily report: of the day in the user's time zone at which it is due, about what happened from `since` on."""

    day: date
    since: datetime
    due_at: datetime


def newest_report(wishes: Wishes, now: datetime) -> Report:
    """The newest that is due. Days on which clocks change have 23 or 25 hours."""
    today = now.astimezone(ZoneInfo(wishes.time_zone)).date()
    day = today if _report_at(wishes, today) <= now else today - timedelta(days=1)
    return Report(day, _report_at(wishes, day - timedelta(days=1)), _report_at(wishes, day))


def _report_at(wishes: Wishes, day: date) -> datetime:
    return _moment(day, wishes.report_minute, ZoneInfo(wishes.time_zone))


def _moment(day: date, minute: int, zone: ZoneInfo, *, again: bool = False) -> datetime:
    """When a clock on the wall shows this. What it shows twice, as clocks are put back, is the first time, or with
    `again` the second; what it never shows counts as if clocks had not been put forward yet."""
    return datetime.combine(day, time(minute // 60, minute % 60, fold=int(again)), zone).astimezone(UTC)


def _of_terminal(facts: AccountFacts, wishes: Wishes, now: datetime) -> Iterable[Condition]:
    def condition(event: AlertEvent, subject_id: str, title: str, text: str) -> Condition:
        return Condition(event, subject_id, facts.account_id, title, text)

    if facts.should_run and facts.login_refused:
        yield condition(
            AlertEvent.LOGIN_REFUSED,
            facts.account_id,
            f"{facts.label}: the broker refused the password",
            "The terminal is not tried again until the password is replaced, since brokers lock accounts.",
        )
    elif facts.should_run and facts.silent_since is not None and now - facts.silent_since >= wishes.stale_after:
        yield condition(
            AlertEvent.TERMINAL_STALE,
            facts.account_id,
            f"{facts.label}: the terminal does not answer",
            f"It has not answered since {facts.silent_since:%Y-%m-%d %H:%M} UTC. Its positions are the broker's and "
            "stay open.",
        )
    for order_id in facts.unknown_orders:
        yield condition(
            AlertEvent.ORDER_UNKNOWN,
            order_id,
            f"{facts.label}: nobody knows what became of an order",
            f"The answer to order {order_id} was lost. Please check the open positions.",
        )
    for bot_id, name in facts.stopped_bots:
        yield condition(
            AlertEvent.BOT_STOPPED,
            bot_id,
            f"{facts.label}: the bot {name} has stopped",
            "It should run and does not. Its log says why; its positions stay as they are.",
        )


def _of_money(facts: AccountFacts, wishes: Wishes, told: Collection[Key]) -> Iterable[Condition]:
    drawdown, level, subject = facts.drawdown, facts.margin_level, facts.account_id
    known = (AlertEvent.DRAWDOWN, subject) in told
    if drawdown is not None and _is_above(drawdown, wishes.drawdown_percent, known=known):
        yield Condition(
            AlertEvent.DRAWDOWN,
            subject,
            subject,
            f"{facts.label}: drawdown of {drawdown:.1f} %",
            f"The equity is {facts.equity:.2f}, the highest known was {facts.peak:.2f}.",
        )
    known = (AlertEvent.MARGIN_LEVEL, subject) in told
    if level is not None and _is_below(level, wishes.margin_level_percent, known=known):
        yield Condition(
            AlertEvent.MARGIN_LEVEL,
            subject,
            subject,
            f"{facts.label}: margin level of {level:.0f} %",
            f"Equity {facts.equity:.2f}, margin {facts.margin:.2f}. The broker closes positions when it falls further.",
        )


def _of_threshold(facts: AccountFacts, threshold: Threshold, told: Collection[Key]) -> Condition | None:
    known = (AlertEvent.THRESHOLD, threshold.id) in told
    value = _figure(facts, threshold)
    if value is None:
        # Without a figure nothing is told, and nothing that was told ends.
        holds = known
    elif threshold.kind in {ThresholdKind.PRICE_ABOVE, ThresholdKind.EQUITY_ABOVE}:
        holds = value >= threshold.value
    elif threshold.kind is ThresholdKind.DRAWDOWN_ABOVE:
        holds = _is_above(value, threshold.value, known=known)
    elif threshold.kind is ThresholdKind.MARGIN_LEVEL_BELOW:
        holds = _is_below(value, threshold.value, known=known)
    else:
        holds = value <= threshold.value
    if not holds:
        return None
    what = threshold.kind.replace("_", " ")
    about = f"{threshold.symbol} " if threshold.symbol else ""
    shown = "" if value is None else f" It is {value.normalize():f} now."
    title = f"{facts.label}: {about}{what} {threshold.value.normalize():f}"
    return Condition(
        AlertEvent.THRESHOLD, threshold.id, facts.account_id, title, f"A limit of yours is reached.{shown}"
    )


def _figure(facts: AccountFacts, threshold: Threshold) -> Decimal | None:
    match threshold.kind:
        case ThresholdKind.PRICE_ABOVE | ThresholdKind.PRICE_BELOW:
            return facts.prices.get(threshold.symbol)
        case ThresholdKind.EQUITY_ABOVE | ThresholdKind.EQUITY_BELOW:
            return facts.equity
        case ThresholdKind.MARGIN_LEVEL_BELOW:
            return facts.margin_level
        case ThresholdKind.DRAWDOWN_ABOVE:
            return facts.drawdown


def _is_above(value: Decimal, limit: Decimal, *, known: bool) -> bool:
    return value >= (limit * _RECOVERY if known else limit)


def _is_below(value: Decimal, limit: Decimal, *, known: bool) -> bool:
    return value <= (limit / _RECOVERY if known else limit)
