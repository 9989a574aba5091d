"""Limits of an account as people set them; how a tenant's and an account's come together. Pure.

Money is in the account currency, times of day are the broker's.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from control_plane.brokers.server_time import ServerZone, parse_zone
from control_plane.entitlements.decision import Entitlements
from control_plane.risk.state import InForce, KillMode
from node_agent.protocol.messages import Guard, LossLimit, TradingPause, TradingWindow

Positive = Annotated[Decimal, Field(gt=0, le=10**12, max_digits=18, decimal_places=4)]
Count = Annotated[int, Field(ge=0, le=100_000)]
SymbolName = Annotated[str, Field(min_length=1, max_length=64)]
Currency = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,12}$")]
_MOST_OFFSET_YEARS = 3


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LossRule(_Part):
    """So much money, or so many percent of what it is measured against."""

    unit: Literal["percent", "money"]
    value: Positive

    @model_validator(mode="after")
    def _within(self) -> LossRule:
        if self.unit == "percent" and self.value > 100:
            raise ValueError("a loss of more than 100 percent limits nothing")
        return self


class DailyLoss(LossRule):
    base: Literal["balance", "equity", "higher"] = "higher"
    """What the day's loss is counted from, as it was when the day began."""
    reset_minute: Annotated[int, Field(ge=0, lt=1440)] = 0
    """When a trading day begins, minutes after midnight of the broker."""


class DrawdownRule(LossRule):
    kind: Literal["static", "trailing"] = "static"
    """Counted from the start, or from the highest equity there has been."""
    start: Positive | None = None
    """Of a static one; the equity that is seen first without."""


class Window(_Part):
    """Part of a weekday in which positions may be opened. Monday is 0; `end` does not belong to it."""

    day: Annotated[int, Field(ge=0, le=6)]
    start_minute: Annotated[int, Field(ge=0, lt=1440)]
    end_minute: Annotated[int, Field(gt=0, le=1440)]

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.start_minute >= self.end_minute:
            raise ValueError("trading hours must end after they begin; hours past midnight are two windows")
        return self


class Pause(_Part):
    """Nothing is opened from `start` to before `end`: of these symbols and currencies, of any when both are empty."""

    start: AwareDatetime
    end: AwareDatetime
    symbols: Annotated[list[SymbolName], Field(max_length=100)] = []
    currencies: Annotated[list[Currency], Field(max_length=30)] = []

    @model_validator(mode="after")
    def _in_order(self) -> Pause:
        if self.start >= self.end:
            raise ValueError("a pause must end after it begins")
        return self


class Limits(_Part):
    """What is limited; whatever is left out is not."""

    symbols: Annotated[list[SymbolName], Field(max_length=500)] | None = None
    max_symbols: Count | None = None
    max_volume: Positive | None = None
    """Lots of one order."""
    max_open_volume: Positive | None = None
    """Lots of all positions and waiting orders together."""
    max_positions: Count | None = None
    max_orders: Count | None = None
    orders_per_minute: Count | None = None
    daily_loss: DailyLoss | None = None
    drawdown: DrawdownRule | None = None
    equity_floor: Positive | None = None
    hours: Annotated[list[Window], Field(max_length=50)] | None = None
    pauses: Annotated[list[Pause], Field(max_length=200)] = []
    on_breach: Literal["stop_opening", "close_all"] = "stop_opening"
    """What happens when a loss limit is hit."""


NO_LIMITS = Limits()
_SMALLER_IS_STRICTER = (
    "max_symbols",
    "max_volume",
    "max_open_volume",
    "max_positions",
    "max_orders",
    "orders_per_minute",
)


def looser(wanted: Limits, than: Limits) -> list[str]:
    """Names of the limits of `wanted` that would allow something which `than` does not."""
    found = []
    for name in (*_SMALLER_IS_STRICTER, "daily_loss", "drawdown", "equity_floor", "symbols", "hours"):
        theirs, mine = getattr(than, name), getattr(wanted, name)
        if theirs is not None and (mine is None or not _as_strict(name, mine, theirs)):
            found.append(name)
    if any(pause not in wanted.pauses for pause in than.pauses):
        found.append("pauses")
    if than.on_breach == "close_all" and wanted.on_breach != "close_all":
        found.append("on_breach")
    return found


def _as_strict(name: str, mine: Any, theirs: Any) -> bool:
    """Losses that are measured in another way are not compared: nobody could say which is stricter."""
    match name:
        case "daily_loss" | "drawdown":
            return bool(mine.model_copy(update={"value": theirs.value}) == theirs and mine.value <= theirs.value)
        case "symbols":
            return set(mine) <= set(theirs)
        case "hours":
            return all(any(_within(each, other) for other in theirs) for each in mine)
        case "equity_floor":
            return bool(mine >= theirs)
    return bool(mine <= theirs)


def _within(inner: Window, outer: Window) -> bool:
    same = inner.day == outer.day
    return same and outer.start_minute <= inner.start_minute and inner.end_minute <= outer.end_minute


def strictest(defaults: Limits, own: Limits) -> Limits:
    """What holds: of each limit the account's, unless it has none or the tenant's allows less."""
    wide = set(looser(own, defaults))
    chosen = {name: getattr(defaults if name in wide else own, name) for name in Limits.model_fields}
    if defaults.symbols is not None and own.symbols is not None:
        chosen["symbols"] = sorted(set(defaults.symbols) & set(own.symbols))
    if defaults.hours is not None and own.hours is not None:
        chosen["hours"] = _common_hours(defaults.hours, own.hours)
    chosen["pauses"] = [*defaults.pauses, *(each for each in own.pauses if each not in defaults.pauses)]
    return Limits.model_construct(**chosen)


def plan_limits(held: Entitlements) -> Limits:
    """What a plan leaves of the symbols; everything else is the owner's to limit."""
    pairs = None if held.pairs is None else sorted(held.pairs)
    return Limits.model_construct(symbols=pairs, max_symbols=held.max_symbols)


def limits_of_account(held: Entitlements, defaults: Limits, own: Limits) -> Limits:
    """What holds for an account: its own limits, its tenant's, and what the plan leaves."""
    return strictest(plan_limits(held), strictest(defaults, own))


def _common_hours(some: Iterable[Window], others: list[Window]) -> list[Window]:
    found = []
    for each in some:
        for other in others:
            start, end = max(each.start_minute, other.start_minute), min(each.end_minute, other.end_minute)
            if each.day == other.day and start < end:
                found.append(Window(day=each.day, start_minute=start, end_minute=end))
    return found


def guard_of(limits: Limits, kill: InForce, rearm_id: str, zone: str, now: datetime) -> Guard:
    """What the node is told. Without limits it is told nothing of the time zone, so that nothing has to be changed."""
    pauses = [each for each in limits.pauses if each.end > now]
    timed = limits.daily_loss is not None or limits.hours is not None
    daily, drawdown = limits.daily_loss, limits.drawdown
    return Guard(
        symbols=None if limits.symbols is None else sorted(limits.symbols),
        max_symbols=limits.max_symbols,
        max_volume=_float(limits.max_volume),
        max_open_volume=_float(limits.max_open_volume),
        max_positions=limits.max_positions,
        max_orders=limits.max_orders,
        orders_per_minute=limits.orders_per_minute,
        daily_loss=_loss(daily),
        day_base="higher" if daily is None else daily.base,
        drawdown=_loss(drawdown),
        drawdown_trails=drawdown is not None and drawdown.kind == "trailing",
        drawdown_start=None if drawdown is None else _float(drawdown.start),
        equity_floor=_float(limits.equity_floor),
        hours=None
        if limits.hours is None
        else [TradingWindow(day=each.day, start=each.start_minute, end=each.end_minute) for each in limits.hours],
        pauses=[_pause(each) for each in pauses],
        on_breach=limits.on_breach,
        day_reset=0 if daily is None else daily.reset_minute,
        utc_offsets=list(utc_offsets(zone, now.year)) if timed else [],
        trading=kill.mode is None,  # for agents that know no kill switch
        kill="none" if kill.mode is None else KillMode(kill.mode).value,
        kill_id=kill.token,
        rearm_id=rearm_id,
    )


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _loss(rule: LossRule | None) -> LossLimit | None:
    return None if rule is None else LossLimit(value=float(rule.value), percent=rule.unit == "percent")


def _pause(pause: Pause) -> TradingPause:
    return TradingPause(
        start=int(pause.start.timestamp()),
        end=int(-(-pause.end.timestamp() // 1)),
        symbols=sorted(pause.symbols),
        currencies=sorted(pause.currencies),
    )


@lru_cache(maxsize=256)
def utc_offsets(zone: str, year: int) -> tuple[tuple[int, int], ...]:
    """From which UTC second on the server's clock is ahead of UTC by how many seconds, for some years from `year` on.

    Nodes may have no data of time zones, and must know the hour of their broker without asking anybody.
    """
    server = parse_zone(zone)
    at = int(datetime(year - 1, 12, 1, tzinfo=UTC).timestamp())
    end = int(datetime(year + _MOST_OFFSET_YEARS, 1, 1, tzinfo=UTC).timestamp())
    found = [(at, _offset(server, at))]
    while at < end:
        later = at + 86_400
        if _offset(server, later) != found[-1][1]:
            change = _first_change(server, at, later)
            found.append((change, _offset(server, change)))
        at = later
    return tuple(found)


def _offset(server: ServerZone, at: int) -> int:
    moment = datetime.fromtimestamp(at, UTC)
    return round((server.wall(moment) - moment.replace(tzinfo=None)).total_seconds())


def _first_change(server: ServerZone, before: int, after: int) -> int:
    old = _offset(server, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(server, middle) == old:
            before = middle
        else:
            after = middle
    return after
