"""The synthetic market beside the real one: hours, spreads, volatility, tails and ticks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt5_bridge.simulated.market.bars import minute_bars
from mt5_bridge.simulated.market.history import Layout, find_files, read_bars, read_ticks
from mt5_bridge.simulated.market.synthetic import Walk
from mt5_bridge.simulated.symbols import specification

DATA = Path(__file__).parents[5].parent / "shared" / "market_data"
MONDAY = 1_758_499_200
WEEKS = 6
QUIET = slice(3, 22)
"""The hours away from the New York close, which the data have enough of."""


@dataclass(frozen=True)
class Look:
    """What a stretch of minute bars looks like."""

    volatility: float  # standard deviation of a minute's return
    tails: float  # its kurtosis, 3 for a normal distribution
    clustering: float  # how alike the sizes of neighbouring minutes are
    range_share: float  # high to low, beside the volatility
    ticks: float  # in a minute
    spread: float  # usual smallest spread of a minute, points
    hours: Any  # volatility of each hour of the day, mean of squares 1
    tick_hours: Any  # ticks of each hour of the day, mean 1
    days: frozenset[int]  # of the week, 0 Sunday
    closed: frozenset[int]  # hours without any bar


def _by_hour(hours: Any, values: Any) -> Any:
    return np.array([values[hours == hour].mean() if (hours == hour).any() else 0.0 for hour in range(24)])


def _look(bars: Any) -> Look:
    returns = np.log(bars["close"] / bars["open"])
    sizes, hours = np.abs(returns), bars["time"] // 3600 % 24
    squares, ticks = _by_hour(hours, returns**2), _by_hour(hours, bars["tick_volume"].astype(float))
    quiet = np.isin(hours, range(24)[QUIET])
    return Look(
        float(returns.std()),
        float((returns**4).mean() / (returns**2).mean() ** 2),
        float(np.corrcoef(sizes[1:], sizes[:-1])[0, 1]),
        float(((bars["high"] - bars["low"]) / bars["close"]).mean() / returns.std()),
        float(bars["tick_volume"].mean()),
        float(bars["spread"][quiet].mean()),
        np.sqrt(squares / squares.mean()),
        ticks / ticks.mean(),
        frozenset(int(day) for day in (bars["time"] // 86_400 + 4) % 7),
        frozenset(set(range(24)) - set(hours.tolist())),
    )


def _synthetic_ticks(symbol: str) -> Any:
    walk = Walk(specification(symbol), 7, MONDAY)
    return np.concatenate([walk.hour(hour) for hour in range(WEEKS * 168)])


@pytest.fixture(scope="module", autouse=True)
def _data() -> None:
    if not DATA.is_dir():
        if os.environ.get("MT5FARM_REQUIRE_ALL") == "1":
            pytest.fail(f"{DATA} is needed")
        pytest.skip("the shared market data are not here")


@pytest.fixture(scope="module", params=["EURUSD", "GBPUSD", "XAUUSD"])
def looks(request: pytest.FixtureRequest) -> tuple[Look, Look]:
    """The synthetic symbol and the real one."""
    symbol, point = request.param, specification(request.param).point
    file = min(
        (one for one in find_files(DATA, symbol) if one.layout is Layout.MT5_BARS),
        key=lambda one: (one.step, -one.last_msc),
    )
    return _look(minute_bars(_synthetic_ticks(symbol), point)), _look(read_bars(file, point))


def test_volatility_and_its_day(looks: tuple[Look, Look]) -> None:
    ours, real = looks
    assert ours.volatility == pytest.approx(real.volatility, rel=0.35)
    assert np.corrcoef(ours.hours[1:], real.hours[1:])[0, 1] > 0.75
    assert ours.range_share == pytest.approx(real.range_share, rel=0.25)


def test_calm_and_wild_stretches_and_long_tails(looks: tuple[Look, Look]) -> None:
    ours, real = looks
    assert real.tails > 30
    assert ours.tails > 12
    assert real.clustering > 0.2
    assert ours.clustering > 0.12


def test_ticks_and_spreads(looks: tuple[Look, Look]) -> None:
    ours, real = looks
    assert ours.ticks == pytest.approx(real.ticks, rel=0.25)
    assert np.corrcoef(ours.tick_hours[1:], real.tick_hours[1:])[0, 1] > 0.9
    assert abs(ours.spread - real.spread) < 1.3  # points; real ones may be 0, ours are at least 1


def test_sessions(looks: tuple[Look, Look]) -> None:
    ours, real = looks
    assert ours.days == real.days
    assert ours.closed == real.closed


@pytest.mark.parametrize("symbol", ["EURUSD", "XAUUSD"])
def test_weekends_move_prices_little(symbol: str) -> None:
    """Medians, for a single weekend of elections outweighs a year of others."""
    file = next(one for one in find_files(DATA, symbol) if one.layout is Layout.MT5_BARS and one.step == 60)
    bars = read_bars(file, specification(symbol).point)
    after = np.flatnonzero(np.diff(bars["time"]) > 40 * 3600) + 1
    real = np.abs(np.log(bars["open"][after] / bars["close"][after - 1]))
    walk = Walk(specification(symbol), 7, MONDAY)
    fridays = [next(hour for hour in range(168 * week + 119, 0, -1) if len(walk.hour(hour))) for week in range(60)]
    mondays = [
        next(hour for hour in range(168 * week, 168 * week + 24) if len(walk.hour(hour))) for week in range(1, 61)
    ]
    ours = [
        abs(np.log(walk.hour(opening)["bid"][0] / walk.hour(closing)["bid"][-1]))
        for closing, opening in zip(fridays, mondays, strict=True)
    ]
    assert len(real) >= 50
    assert np.median(real) / 2 < np.median(ours) < np.median(real) * 3


def test_spread_and_flags_of_ticks() -> None:
    files = [one for one in find_files(DATA, "EURUSD") if one.layout is Layout.MT5_TICKS]
    for_each = []
    for ticks in (_synthetic_ticks("EURUSD"), read_ticks(files[0])):
        spread = np.rint((ticks["ask"] - ticks["bid"]) / 1e-5)
        first_hour = ticks["time"] // 3600 % 24 == 0
        both = float((ticks["flags"] == 134).mean())
        for_each.append((float(spread[~first_hour].mean()), float(spread[first_hour].mean()), both))
    (ours, ours_night, ours_both), (real, real_night, real_both) = for_each
    assert abs(ours - real) < 1.5
    assert ours_night == pytest.approx(real_night, rel=0.3)
    assert ours_both == pytest.approx(real_both, abs=0.1)
