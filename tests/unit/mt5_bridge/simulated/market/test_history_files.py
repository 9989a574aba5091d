"""History folders that cannot be used: one sentence that names the file, the trouble and the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt5_bridge.simulated.market.bar_ticks import ticks_of_bars
from mt5_bridge.simulated.market.history import HistoryError
from mt5_bridge.simulated.market.replay import replay_market
from mt5_bridge.structs import RATES_DTYPE

HOUR_OF_TICKS = np.arange(0, 7_200_000, 1000)


def _write(path: Path, **columns: Any) -> None:
    pq.write_table(pa.table(columns), path)


def _ticks(path: Path, start: int = 10**12, **changes: Any) -> None:
    count = len(HOUR_OF_TICKS)
    columns = {
        "time_msc": HOUR_OF_TICKS + start,
        "bid": np.linspace(1.1, 1.2, count),
        "ask": np.linspace(1.11, 1.21, count),
    }
    _write(path, **(columns | changes))


def _cut(path: Path) -> None:
    _ticks(path)
    path.write_bytes(path.read_bytes()[:-500])


def _damaged(path: Path) -> None:
    _ticks(path)
    data = bytearray(path.read_bytes())
    data[8:3000] = bytes(2992)
    path.write_bytes(data)


BAD_FILES: dict[str, Callable[[Path], Any]] = {
    "text": lambda path: path.write_text("not parquet"),
    "empty file": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "damaged inside": _damaged,
    "no rows": lambda path: _ticks(path, time_msc=[], bid=[], ask=[]),
    "other columns": lambda path: _write(path, a=[1]),
    "not in order": lambda path: _ticks(path, time_msc=HOUR_OF_TICKS[::-1]),
    "zero price": lambda path: _ticks(path, bid=np.zeros(len(HOUR_OF_TICKS))),
    "no number": lambda path: _ticks(path, ask=np.full(len(HOUR_OF_TICKS), np.nan)),
    "text prices": lambda path: _ticks(path, bid=["1.1"] * len(HOUR_OF_TICKS)),
    "text times": lambda path: _ticks(path, time_msc=["x"] * len(HOUR_OF_TICKS)),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_named_with_its_trouble(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ticks_EURUSD_x.parquet"
    BAD_FILES[kind](path)
    with pytest.raises(HistoryError) as caught:
        replay_market(tmp_path, ["EURUSD"])
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert text.endswith(".")


def test_a_broken_file_of_another_symbol_does_not_matter(tmp_path: Path) -> None:
    _ticks(tmp_path / "ticks_EURUSD.parquet")
    (tmp_path / "ticks_GBPUSD.parquet").write_text("broken")
    assert replay_market(tmp_path, ["EURUSD"]).start_msc == 10**12


def test_a_missing_folder_symbol_or_common_time_is_said(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="does not exist"):
        replay_market(tmp_path / "none", ["EURUSD"])
    with pytest.raises(HistoryError, match="--symbols"):
        replay_market(tmp_path, [])
    _ticks(tmp_path / "ticks_EURUSD.parquet")
    with pytest.raises(HistoryError, match="no ticks or bars of GBPUSD"):
        replay_market(tmp_path, ["EURUSD", "GBPUSD"])
    _ticks(tmp_path / "ticks_GBPUSD.parquet", start=2 * 10**12)
    with pytest.raises(HistoryError, match="share no hour"):
        replay_market(tmp_path, ["EURUSD", "GBPUSD"])


def test_inside_a_bar_the_nearer_extreme_comes_first() -> None:
    bars = np.zeros(2, RATES_DTYPE)
    bars["time"] = [60, 120]
    bars["open"], bars["high"], bars["low"], bars["close"] = [1.5, 1.5], [1.7, 1.6], [1.4, 1.2], [1.6, 1.3]
    bars["spread"] = 20
    ticks = ticks_of_bars(bars, 60, 0.01)
    assert ticks["bid"].tolist() == [1.5, 1.4, 1.7, 1.6, 1.5, 1.6, 1.2, 1.3]
    assert ticks["time_msc"].tolist() == [60_000, 80_000, 100_000, 119_000, 120_000, 140_000, 160_000, 179_000]
    assert ticks["ask"].tolist() == [1.7, 1.6, 1.9, 1.8, 1.7, 1.8, 1.4, 1.5]
