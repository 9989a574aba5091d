"""The process that computes one backtest: `python -m control_plane.backtests.work FOLDER`.

In the folder lie `task.json` and `bars.npy`; it writes `result.json`, and on its output a line of JSON for each step of
progress. It knows no database, and ends when nobody reads its output any more.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mt5_bridge.simulated.market.calendar import ALWAYS
from mt5_bridge.simulated.symbols import SymbolSpec
from mt5_bridge.strategies import registry
from mt5_bridge.strategies.backtest import optimise
from mt5_bridge.strategies.backtest.recording import of_bars
from mt5_bridge.strategies.backtest.run import Settings, run
from mt5_bridge.strategies.backtest.search_space import SearchError, combinations
from mt5_bridge.strategies.base import ParameterError, UnableError

_UNSEEN = 0.3
_COPIED = (
    "digits",
    "currency_base",
    "currency_profit",
    "currency_margin",
    "volume_min",
    "volume_max",
    "volume_step",
    "swap_mode",
    "swap_long",
    "swap_short",
)


def facts_of(info: Any) -> dict[str, Any]:
    """What a backtest has to know of a SymbolInfo."""
    named = {name: getattr(info, name) for name in _COPIED}
    return named | {"contract_size": info.trade_contract_size, "calc_mode": info.trade_calc_mode, "name": info.name}


def _spec(facts: dict[str, Any]) -> SymbolSpec:
    return SymbolSpec(description=facts["name"], path=facts["name"], sessions=ALWAYS, **facts)


class _Pulse:
    """Says every half second how far it has come, so that silence means that the process is gone."""

    def __init__(self) -> None:
        self._share = 0.0
        threading.Thread(target=self._beat, daemon=True).start()

    def reached(self, share: float) -> bool:
        """It has come to this share."""
        self._share = share
        return True

    def _beat(self) -> None:
        while True:
            try:
                sys.stdout.write(json.dumps({"progress": self._share}) + "\n")
                sys.stdout.flush()
            except OSError:
                os._exit(1)  # nobody reads it any more
            time.sleep(0.5)


def _settings(task: dict[str, Any], spec: SymbolSpec, bounds: tuple[int, int]) -> Settings:
    terms = task["terms"]
    return Settings(
        symbol=spec.name,
        timeframe=task["timeframe"],
        volume=task["volume"],
        first_msc=max(bounds[0], task["first_msc"]),
        last_msc=bounds[1],
        deposit=float(terms["deposit"]),
        currency=spec.currency_profit,
        leverage=terms["leverage"],
        commission=float(terms["commission"]),
        spread=terms["spread"],
    )


def compute(task: dict[str, Any], bars: Any, progress: Callable[[float], bool] = lambda _: True) -> dict[str, Any]:
    """The report's content. Raises ParameterError, UnableError, SearchError."""
    spec = _spec(task["symbol"])
    recording = of_bars(bars, spec, task["source"], task["step"])
    settings = _settings(task, spec, recording.bounds)
    create = functools.partial(registry.create, task["strategy"])
    if not task["ranges"]:
        return run(create(task["parameters"]), recording, settings, progress).plain()
    tried = combinations(create, task["parameters"], task["ranges"])
    workers = optimise.Workers(create, recording, task["processes"])
    with workers.running():
        if task["walk_steps"]:
            walk = optimise.walk_forward(workers, tried, settings, task["objective"], task["walk_steps"], progress)
            return walk.plain()
        cut = settings.last_msc - round((settings.last_msc - settings.first_msc) * _UNSEEN)
        return optimise.search(workers, tried, settings, task["objective"], cut, progress).plain()


def main() -> int:
    """Exit code 3 for what cannot be tested; `result.json` then says why."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    code = 0
    try:
        result = compute(task, np.load(folder / "bars.npy"), _Pulse().reached)
    except (ParameterError, UnableError, SearchError) as error:
        result, code = {"problem": str(error)}, 3
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
