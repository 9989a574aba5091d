"""The guard's decisions. Pure: limits, what is remembered, the account's books, a request and the time go in.

What only reduces risk always passes, so that no limit ever locks a trader into a position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from mt5_bridge.balance_operations import Movement
from mt5_bridge.contract import CONSTANTS
from mt5_bridge.guard import DAY_MINUTES, Amount, DayBase, Guard, Kill, OnBreach, Pause
from mt5_bridge.guard_memory import Level, Memory, Trip

_DEAL: Final = CONSTANTS["TRADE_ACTION_DEAL"]
_PENDING: Final = CONSTANTS["TRADE_ACTION_PENDING"]
_MODIFY: Final = CONSTANTS["TRADE_ACTION_MODIFY"]
_OPENING: Final = frozenset({_DEAL, _PENDING})
_MAY_OPEN: Final = _OPENING | {_MODIFY}
"""A waiting order that is moved to the market opens a position as a new one would."""
_ROUNDING: Final = 1e-9
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MINUTE: Final = 60.0


class Refusal(NamedTuple):
    code: str
    message: str
    """Which limit, the figure, and what would be allowed; safe to show."""


class Figures(NamedTuple):
    """Of the account, in its currency."""

    balance: float
    equity: float


@dataclass(frozen=True)
class Loss:
    """How much of a loss limit is used up, in the account currency."""

    switch: str
    figure: float
    limit: float

    @property
    def hit(self) -> bool:
        return self.figure >= self.limit - _ROUNDING


@dataclass(frozen=True)
class OpenBooks:
    """What is open, as far as limits count it."""

    positions: Sequence[Any] = ()
    orders: Sequence[Any] = ()
    coming: Sequence[Mapping[str, Any]] = ()
    """Requests that were sent and of which nobody knows yet what became."""
    opened_at: Sequence[float] = ()
    """When positions and orders were last asked for, UTC seconds since 1970."""
    hedging: bool = True
    currencies: frozenset[str] = frozenset()
    """Of the symbol of the request."""


def may_open(request: Mapping[str, Any]) -> bool:
    """Whether the request can make the account's risk larger, as far as it says itself."""
    return request.get("action") in _MAY_OPEN


def opens(request: Mapping[str, Any]) -> bool:
    """Whether the request is for something new: not a change of what is there, and not against a named position."""
    return request.get("action") in _OPENING and not request.get("position")


def reduces(request: Mapping[str, Any], positions: Sequence[Any], *, hedging: bool = True) -> bool:
    """Whether a deal can only make one of `positions` smaller: opposite side, same symbol, no more volume.

    On a netting account it need not name the position.
    """
    if request.get("action") != _DEAL or (hedging and not request.get("position")):
        return False
    return any(
        (position.ticket == request["position"] if request.get("position") else not hedging)
        and position.symbol == request.get("symbol")
        and position.type == 1 - request.get("type", 0)
        and request.get("volume", 0.0) <= position.volume + _ROUNDING
        for position in positions
    )


def take_in(guard: Guard, memory: Memory, account: Figures, now: float, moved: Movement | None = None) -> Memory:
    """What is remembered after a look at the account: a new day, a new peak, a re-arming, limits that were hit.

    What has tripped stays so, whatever the account does, until a person re-arms. Then losses count from here.
    `moved` is what was paid in or out since the last look, None for nothing.
    """
    equity = account.equity
    if guard.rearm_id and guard.rearm_id != memory.rearm_id:
        here = Level(equity, equity)
        memory = Memory(
            day=guard.trading_day(now),
            day_base=here,
            day_since=now,
            start=here,
            peak=here,
            floor=memory.floor,
            rearm_id=guard.rearm_id,
            ledger=memory.ledger if moved is None else moved.ledger,
        )
        moved = None
    if not guard.watches_equity:
        return memory
    memory = _with_given(guard, memory)
    if moved is not None and not moved.explained:
        # Not known yet whether it was lost or taken out: nothing is learnt, and only what is lost either way trips.
        milder = after_movement(memory, moved.amount + moved.missing, equity)
        return _with_trips(memory, losses(guard, milder, account), now)
    if moved is not None:
        memory = replace(after_movement(memory, moved.amount, equity), ledger=moved.ledger)
    day = guard.trading_day(now)
    if memory.day is None or memory.day_base is None or day > memory.day:  # a clock that is set back begins no new day
        base = _base(guard, account)
        memory = replace(memory, day=day, day_base=Level(base, base), day_since=now)
    if memory.start is None or memory.peak is None:
        memory = replace(memory, start=Level(equity, equity), peak=Level(equity, equity))
    elif equity > min(memory.peak.amount, memory.peak.share):
        peak = Level(max(memory.peak.amount, equity), max(memory.peak.share, equity))
        memory = replace(memory, peak=peak)
    return _with_trips(memory, losses(guard, memory, account), now)


def after_movement(memory: Memory, amount: float, equity: float) -> Memory:
    """What losses are counted from, once `amount` was paid in (below 0: out) and has made the equity what it is now.

    Neither what is lost nor what may still be lost changes by it: in money where limits are in money, in percent of
    the equity where they are in percent.
    """
    if not amount:
        return memory
    before = equity - amount
    ratio = equity / before if before > 0 and equity > 0 else None

    def moved(level: Level | None) -> Level | None:
        if level is None:
            return None
        # There is no share of an account that was empty: it begins anew.
        share = max(0.0, equity) if ratio is None else level.share * ratio
        return replace(level, amount=level.amount + amount, share=share)

    return replace(
        memory,
        day_base=moved(memory.day_base),
        start=moved(memory.start),
        peak=moved(memory.peak),
        given_start=moved(memory.given_start),
        floor=moved(memory.floor),
    )


def losses(guard: Guard, memory: Memory, account: Figures) -> list[Loss]:
    """How far each loss limit is used up."""
    found = []
    equity = account.equity
    if guard.daily_loss is not None and memory.day_base is not None:
        found += _loss("daily_loss", guard.daily_loss, _measured(guard.daily_loss, memory.day_base), equity)
    if guard.drawdown is not None and memory.peak is not None and memory.start is not None:
        # A start that was given holds until somebody re-arms; then losses count from there.
        start = memory.start if memory.given_start is None or memory.rearm_id else memory.given_start
        reference = _measured(guard.drawdown, start)
        if guard.drawdown_trails:
            reference = max(reference, _measured(guard.drawdown, memory.peak))
        found += _loss("drawdown", guard.drawdown, reference, equity)
    if guard.equity_floor is not None and memory.floor is not None and memory.start is not None:
        start_amount = memory.start.amount
        found.append(Loss("equity_floor", start_amount - equity, start_amount - memory.floor.amount))
    return found


def _measured(limit: Amount, level: Level) -> float:
    return level.share if limit.percent else level.amount


def _loss(switch: str, limit: Amount, reference: float, equity: float) -> list[Loss]:
    """Nothing where there is nothing to take percent of."""
    if limit.percent and reference <= 0:
        return []
    return [Loss(switch, reference - equity, limit.of(reference))]


def _with_given(guard: Guard, memory: Memory) -> Memory:
    """Levels that people have set, moved along since then; a new figure begins anew."""

    def level(known: Level | None, given: float | None) -> Level | None:
        if given is None:
            return None
        return known if known is not None and known.given == given else Level(given, given, given)

    return replace(
        memory,
        given_start=level(memory.given_start, guard.drawdown_start),
        floor=level(memory.floor, guard.equity_floor),
    )


def _with_trips(memory: Memory, found: Sequence[Loss], now: float) -> Memory:
    known = {trip.switch for trip in memory.trips}
    trips = tuple(
        Trip(loss.switch, now, loss.figure, loss.limit) for loss in found if loss.hit and loss.switch not in known
    )
    return replace(memory, trips=memory.trips + trips) if trips else memory


def must_close(guard: Guard, memory: Memory) -> bool:
    """Whether everything that is open has to be closed."""
    return guard.kill is Kill.CLOSE_ALL or (bool(memory.trips) and guard.on_breach is OnBreach.CLOSE_ALL)


def must_remove_orders(guard: Guard, memory: Memory) -> bool:
    """Whether orders that wait have to go, since each would open a position."""
    return guard.kill is not Kill.NONE or bool(memory.trips)


def barrier(guard: Guard, memory: Memory, problem: str) -> Refusal | None:
    """Why nothing at all may be opened now, whatever it is."""
    if guard.kill is not Kill.NONE:
        return Refusal("guard_kill", "the kill switch of this account is on; positions can only be closed")
    if problem:
        return Refusal("guard_state", f"{problem}; positions can only be closed until somebody re-arms the account")
    if memory.trips:
        trip = memory.trips[0]
        words = _TRIPPED[trip.switch]
        text = f"{words}: {trip.figure:.2f} of {trip.limit:.2f} were lost; positions can only be closed until re-armed"
        return Refusal(f"guard_{trip.switch}", text)
    if not guard.trading:
        return Refusal("guard_trading", "opening trades is switched off for this account")
    return None


_TRIPPED: Final = {
    "daily_loss": "the daily loss limit was reached",
    "drawdown": "the drawdown limit was reached",
    "equity_floor": "equity fell to its floor",
}


def refusal(
    guard: Guard, memory: Memory, problem: str, books: OpenBooks, request: Mapping[str, Any], now: float
) -> Refusal | None:
    """Why the request must not be sent, or None. `memory` has taken in the account as it is now (`take_in`)."""
    if not may_open(request) or reduces(request, books.positions, hedging=books.hedging):
        return None
    symbol = str(request.get("symbol", ""))
    barred = barrier(guard, memory, problem) or _time_refusal(guard, symbol, books.currencies, now)
    if barred is not None or request["action"] == _MODIFY:
        return barred
    volume = float(request.get("volume", 0.0))
    return (
        _symbol_refusal(guard, symbol, books)
        or _volume_refusal(guard, request, symbol, volume, books)
        or _number_refusal(guard, request, symbol, books)
        or _pace_refusal(guard, books, now)
    )


def _time_refusal(guard: Guard, symbol: str, currencies: frozenset[str], now: float) -> Refusal | None:
    for pause in guard.pauses:
        if pause.start <= now < pause.end and _concerns(pause, symbol, currencies):
            left = int(-(-(pause.end - now) // MINUTE))
            return Refusal("guard_pause", f"opening {symbol} pauses for news; it is possible again in {left} min")
    if guard.hours is None:
        return None
    local = guard.broker_time(now)
    day, minute = (int(local // 86_400) + 3) % 7, int(local % 86_400 // 60)
    if any(window.day == day and window.start <= minute < window.end for window in guard.hours):
        return None
    return Refusal("guard_hours", f"positions may not be opened at this time; {_next_window(guard, day, minute)}")


def _concerns(pause: Pause, symbol: str, currencies: frozenset[str]) -> bool:
    if not pause.symbols and not pause.currencies:
        return True
    return symbol in pause.symbols or not pause.currencies.isdisjoint(currencies)


def _next_window(guard: Guard, day: int, minute: int) -> str:
    def wait(start: int) -> int:
        ahead = start - (day * DAY_MINUTES + minute)
        return ahead if ahead > 0 else ahead + 7 * DAY_MINUTES

    windows = sorted(guard.hours or (), key=lambda each: wait(each.day * DAY_MINUTES + each.start))
    if not windows:
        return "no trading hours are set"
    first = windows[0]
    return f"the next window opens on {_DAYS[first.day]} at {first.start // 60:02}:{first.start % 60:02} broker time"


def _symbol_refusal(guard: Guard, symbol: str, books: OpenBooks) -> Refusal | None:
    if guard.symbols is not None and symbol not in guard.symbols:
        return Refusal("guard_symbol", f"{symbol} may not be traded on this account; allowed: {_listed(guard.symbols)}")
    if guard.max_symbols is not None:
        used = _symbols(books)
        if len(used | {symbol}) > guard.max_symbols:
            text = f"{len(used)} different symbols are open and {guard.max_symbols} are allowed: {_listed(used)}"
            return Refusal("guard_symbols", text)
    return None


def _listed(names: frozenset[str], most: int = 8) -> str:
    shown = sorted(names)[:most]
    return (", ".join(shown) or "none") + (" and others" if len(names) > most else "")


def _symbols(books: OpenBooks) -> frozenset[str]:
    open_ = {each.symbol for each in (*books.positions, *books.orders)}
    return frozenset(open_ | {str(each.get("symbol", "")) for each in books.coming})


def _volume_refusal(
    guard: Guard, request: Mapping[str, Any], symbol: str, volume: float, books: OpenBooks
) -> Refusal | None:
    if guard.max_volume is not None and volume > guard.max_volume + _ROUNDING:
        return Refusal("guard_volume", f"{volume:g} lots are above the limit of {guard.max_volume:g} per order")
    if guard.max_open_volume is None:
        return None
    used = sum(each.volume for each in books.positions) + sum(each.volume_current for each in books.orders)
    used += sum(float(each.get("volume", 0.0)) for each in books.coming)
    turned = 0.0 if books.hedging or request["action"] != _DEAL else _opposite(request, symbol, books)
    after = used + volume - 2 * turned  # on a netting account the deal first closes what is open the other way
    if after > guard.max_open_volume + _ROUNDING:
        room = max(0.0, guard.max_open_volume - used + 2 * turned)
        text = f"{used:g} of {guard.max_open_volume:g} lots are open or waiting; {room:g} more would be allowed"
        return Refusal("guard_open_volume", text)
    return None


def _opposite(request: Mapping[str, Any], symbol: str, books: OpenBooks) -> float:
    side = 1 - int(request.get("type", 0))
    return float(sum(each.volume for each in books.positions if each.symbol == symbol and each.type == side))


def _number_refusal(guard: Guard, request: Mapping[str, Any], symbol: str, books: OpenBooks) -> Refusal | None:
    waiting = len(books.orders) + sum(each.get("action") == _PENDING for each in books.coming)
    if guard.max_orders is not None and request["action"] == _PENDING and waiting >= guard.max_orders:
        return Refusal("guard_orders", f"{waiting} orders wait already and {guard.max_orders} are allowed")
    if guard.max_positions is None:
        return None
    if books.hedging:
        used = len(books.positions) + len(books.orders) + len(books.coming)
        fits = used < guard.max_positions
    else:
        symbols = _symbols(books)
        used, fits = len(symbols), len(symbols | {symbol}) <= guard.max_positions
    if fits:
        return None
    text = f"{used} positions are open or waiting to be and {guard.max_positions} are allowed"
    return Refusal("guard_positions", text)


def _pace_refusal(guard: Guard, books: OpenBooks, now: float) -> Refusal | None:
    if guard.orders_per_minute is None:
        return None
    recent = [at for at in books.opened_at if at > now - MINUTE]
    if len(recent) < guard.orders_per_minute:
        return None
    wait = "none may follow"
    if guard.orders_per_minute:
        first_to_age = recent[len(recent) - guard.orders_per_minute]
        wait = f"the next one may follow in {max(1, int(-(-(first_to_age + MINUTE - now) // 1)))} s"
    text = f"{len(recent)} orders were sent within a minute and {guard.orders_per_minute} are allowed; {wait}"
    return Refusal("guard_pace", text)


def _base(guard: Guard, account: Figures) -> float:
    match guard.day_base:
        case DayBase.BALANCE:
            return account.balance
        case DayBase.EQUITY:
            return account.equity
    return max(account.balance, account.equity)
