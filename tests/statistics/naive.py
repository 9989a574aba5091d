"""The figures once more, written from their definitions in docs/statistics.md with other means: exact fractions for
money and trades, numpy for series, no code shared with the farm.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np

_FLOWS, _CREDIT, _TRADES = {2, 5, 6}, 3, {0, 1, 13, 14}


def amount(deal: Any) -> Fraction:
    return sum((Fraction(part) for part in (deal.profit, deal.commission, deal.swap, deal.fee)), Fraction(0))


def ordered(deals: Sequence[Any]) -> list[Any]:
    return sorted(deals, key=lambda deal: (deal.time_msc, deal.ticket))


def trades(deals: Sequence[Any]) -> list[dict[str, Any]]:
    """Every closing, with all that came before it on its position told over again from the start."""
    ours = [deal for deal in ordered(deals) if deal.type in (0, 1)]
    found: list[dict[str, Any]] = []
    for place, closing in enumerate(ours):
        if closing.entry == 0:
            continue
        state: dict[str, Any] | None = None
        for deal in ours[: place + 1]:
            if deal.position_id == closing.position_id:
                state, made = _after(state, deal)
                if deal is closing and made is not None:
                    found.append(made)
    return found


def _after(state: dict[str, Any] | None, deal: Any) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    volume, price = Fraction(str(deal.volume)), Fraction(deal.price)
    costs = Fraction(deal.commission) + Fraction(deal.fee)
    if deal.entry == 0:
        old = state or {
            "volume": 0, "paid": 0, "costs": 0, "long": deal.type == 0, "at": deal.time_msc, "magic": deal.magic,
        }  # fmt: skip
        new = dict(old)
        new |= {
            "volume": old["volume"] + volume,
            "paid": old["paid"] + volume * price,
            "costs": old["costs"] + costs,
        }
        return new, None
    assert state is not None
    closed = min(volume, state["volume"])
    part, own = closed / state["volume"], closed / volume
    net = Fraction(deal.profit) + Fraction(deal.swap) + costs * own + state["costs"] * part
    made = {
        "net": net,
        "long": state["long"],
        "volume": closed,
        "price_open": state["paid"] / state["volume"],
        "held": Fraction(deal.time_msc - state["at"], 1000),
        "closed": deal.time_msc,
        "magic": state["magic"],
        "symbol": deal.symbol,
        "swap": Fraction(deal.swap),
        "commission": costs * own + state["costs"] * part,
    }
    left = state["volume"] - closed
    if left:
        return state | {"volume": left, "paid": state["paid"] * (1 - part), "costs": state["costs"] * (1 - part)}, made
    rest = volume - closed
    if not rest:
        return None, made
    fresh = {
        "volume": rest, "paid": rest * price, "costs": costs * (1 - own), "long": deal.type == 0, "at": deal.time_msc,
        "magic": deal.magic,
    }  # fmt: skip
    return fresh, made


def growth(deals: Sequence[Any]) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Times, growth and result after each deal, step by step: the product of one plus each result by what was there."""
    times, factors, results = [], [], []
    balance, flat = Fraction(0), False
    stretch_base, stretch = Fraction(0), Fraction(1)
    value = 1.0
    before = 1.0
    result = Fraction(0)
    for deal in ordered(deals):
        if deal.type == _CREDIT:
            continue
        balance += amount(deal)
        if deal.type in _FLOWS:
            stretch_base, before = balance, value
        else:
            result += amount(deal)
            flat = stretch_base <= 0
            if flat:
                stretch_base, before = balance, value
            else:
                stretch = max(Fraction(0), balance / stretch_base)
                value = before * float(stretch)
        times.append(deal.time_msc)
        factors.append(value)
        results.append(float(result))
    return times, np.array(factors), np.array(results)


def falls(values: np.ndarray, relative: bool) -> float:
    """The deepest fall, by looking at all pairs."""
    peaks = np.maximum.accumulate(values)
    depths = peaks - values
    if relative:
        depths = np.divide(depths, peaks, out=np.zeros_like(depths), where=peaks > 0)
    return float(depths.max(initial=0.0))


def day(msc: int) -> Any:
    return np.datetime64(msc, "ms").astype("datetime64[D]")


def returns(deals: Sequence[Any]) -> np.ndarray:
    times, factors, _ = growth(deals)
    if not times:
        return np.array([])
    days = np.array([day(each) for each in times])
    lasts = {each: factors[days == each][-1] for each in np.unique(days)}
    out, before = [], 1.0
    for each in np.arange(days.min(), days.max() + 1):
        if each in lasts:
            out.append(lasts[each] / before - 1 if before > 0 else 0.0)
            before = lasts[each]
        elif np.is_busday(each):
            out.append(0.0)
    return np.array(out)


def figures(deals: Sequence[Any]) -> dict[str, Any]:
    """Every figure that the farm shows, None where its definition does not allow it."""
    closed = trades(deals)
    nets = [each["net"] for each in closed]
    floats = np.array([float(net) for net in nets])
    wins, losses = [net for net in nets if net > 0], [net for net in nets if net < 0]
    runs = [(sign, list(group)) for sign, group in groupby(nets, key=lambda net: (net > 0) - (net < 0))]
    times, factors, results = growth(deals)
    daily = returns(deals)
    account = [deal for deal in deals if deal.type != _CREDIT]
    flows = [amount(deal) for deal in account if deal.type in _FLOWS]
    curve = np.concatenate([[0.0], np.cumsum(floats)]) if len(floats) else floats
    span = (times[-1] - times[0]) / 86_400_000 / 365.25 if times else 0.0
    yearly = factors[-1] ** (1 / span) - 1 if span * 365.25 >= 1 else None
    relative = falls(np.concatenate([[1.0], factors]), True) if times else 0.0
    downside = np.sqrt(np.mean(np.minimum(daily, 0) ** 2)) if len(daily) else 0.0
    return {
        "trades": len(nets),
        "wins": len(wins),
        "losses": len(losses),
        "win_rate": len(wins) / len(nets) if nets else None,
        "net": float(sum(nets)),
        "gross_profit": float(sum(wins)),
        "gross_loss": float(sum(losses)),
        "profit_factor": float(sum(wins) / -sum(losses)) if losses else None,
        "expectancy": float(sum(nets) / len(nets)) if nets else None,
        "average_win": float(sum(wins) / len(wins)) if wins else None,
        "average_loss": float(sum(losses) / len(losses)) if losses else None,
        "payoff": float((sum(wins) / len(wins)) / -(sum(losses) / len(losses))) if wins and losses else None,
        "largest_win": float(max(wins)) if wins else None,
        "largest_loss": float(min(losses)) if losses else None,
        "longest_wins": max((len(run) for sign, run in runs if sign > 0), default=0),
        "longest_losses": max((len(run) for sign, run in runs if sign < 0), default=0),
        "sqn": float(np.sqrt(len(floats)) * floats.mean() / floats.std(ddof=1))
        if len(floats) > 1 and floats.std(ddof=1)
        else None,
        "average_held_seconds": float(sum(each["held"] for each in closed) / len(closed)) if closed else None,
        "volume": float(sum(each["volume"] for each in closed)),
        "swap": float(sum(each["swap"] for each in closed)),
        "commission": float(sum(each["commission"] for each in closed)),
        "drawdown": falls(curve, False),
        "deposits": float(sum(flow for flow in flows if flow > 0)),
        "withdrawals": float(sum(flow for flow in flows if flow < 0)),
        "other_costs": float(sum(amount(deal) for deal in account if deal.type not in _FLOWS | _TRADES)),
        "balance": float(sum(map(amount, account))),
        "result": float(results[-1]) if times else 0.0,
        "gain": float(factors[-1] - 1) if times else None,
        "absolute_drawdown": float(max(0.0, -results.min(initial=0.0))),
        "max_drawdown": falls(np.concatenate([[0.0], results]), False) if times else 0.0,
        "relative_drawdown": relative,
        "sharpe": float(daily.mean() / daily.std(ddof=1) * np.sqrt(252))
        if len(daily) > 1 and daily.std(ddof=1)
        else None,
        "sortino": float(daily.mean() / downside * np.sqrt(252)) if downside else None,
        "yearly_gain": yearly,
        "calmar": yearly / relative if yearly is not None and relative else None,
        "by_symbol": _sums(closed, lambda each: each["symbol"]),
        "by_direction": _sums(closed, lambda each: "long" if each["long"] else "short"),
        "by_magic": _sums(closed, lambda each: str(each["magic"])),
        "by_hour": _sums(closed, lambda each: _clock(each).strftime("%H")),
        "by_weekday": _sums(closed, lambda each: _clock(each).strftime("%A")),
        "by_month": _sums(closed, lambda each: _clock(each).strftime("%Y-%m")),
    }


def _clock(trade: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(trade["closed"] // 1000, UTC)


def _sums(closed: list[dict[str, Any]], key: Any) -> dict[str, float]:
    return {name: float(sum(t["net"] for t in closed if key(t) == name)) for name in {key(t) for t in closed}}
