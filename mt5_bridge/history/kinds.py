"""What a history file holds: ticks, or bars of one timeframe."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mt5_bridge.contract import CONSTANT_GROUPS
from mt5_bridge.simulated.market.bars import MINUTE, minutes_of
from mt5_bridge.structs import RATES_DTYPE, TICKS_DTYPE

TIMEFRAMES = {name.removeprefix("TIMEFRAME_"): value for name, value in CONSTANT_GROUPS["TIMEFRAME"].items()}


@dataclass(frozen=True)
class Kind:
    """`name` is "ticks" or a timeframe such as "M1"; ValueError for another."""

    name: str

    def __post_init__(self) -> None:
        if not self.is_ticks and self.name not in TIMEFRAMES:
            raise ValueError(f"{self.name!r} is neither ticks nor a timeframe")

    @classmethod
    def of_step(cls, seconds: int) -> Kind:
        """The kind of a file whose bars are usually so many seconds apart, 0 for ticks. Raises ValueError."""
        if not seconds:
            return cls("ticks")
        for name, value in TIMEFRAMES.items():
            if minutes_of(value) * MINUTE == seconds:
                return cls(name)
        raise ValueError(f"bars of {seconds} seconds are of no timeframe")

    @property
    def is_ticks(self) -> bool:
        """Whether these are ticks and not bars."""
        return self.name == "ticks"

    @property
    def timeframe(self) -> int:
        """Number of the timeframe (TIMEFRAME_*)."""
        return TIMEFRAMES[self.name]

    @property
    def seconds(self) -> int:
        """Longest length of a bar."""
        return minutes_of(self.timeframe) * MINUTE

    @property
    def words(self) -> str:
        """For sentences."""
        return "ticks" if self.is_ticks else f"{self.name} bars"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the rows, as copy_ticks_* and copy_rates_* give them."""
        return np.dtype(TICKS_DTYPE if self.is_ticks else RATES_DTYPE)

    @property
    def time_column(self) -> str:
        """The column that orders the rows."""
        return "time_msc" if self.is_ticks else "time"

    def time_msc(self, row: Any) -> int:
        """Time of a row (ms, broker clock)."""
        return int(row["time_msc"]) if self.is_ticks else int(row["time"]) * 1000

    def file_name(self, symbol: str, first_msc: int, last_msc: int, suffix: str) -> str:
        """CSV is named as MT5 names it; Parquet so that a replay finds the symbol."""
        first, last = (datetime.fromtimestamp(msc / 1000, UTC) for msc in (first_msc, last_msc))
        if suffix == ".csv":
            middle = "" if self.is_ticks else f"_{self.name}"
            return f"{symbol}{middle}_{first:%Y%m%d%H%M}_{last:%Y%m%d%H%M}.csv"
        what = f"ticks_{symbol}" if self.is_ticks else f"bars_{symbol}_{self.name}"
        return f"mt5_{what}_{first:%Y%m%d}-{last:%Y%m%d}.parquet"
