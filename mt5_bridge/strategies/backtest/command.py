"""`mt5farm-bridge backtest`: test a built-in strategy on recorded history, or search its parameters."""

from __future__ import annotations

import argparse
import calendar
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from mt5_bridge.contract import CONSTANT_GROUPS
from mt5_bridge.simulated.market.history import HistoryError
from mt5_bridge.simulated.parser import Parser
from mt5_bridge.strategies import registry
from mt5_bridge.strategies.backtest import optimise, report
from mt5_bridge.strategies.backtest.recording import SOURCES, Recording, load
from mt5_bridge.strategies.backtest.run import Settings, lots_fit, run
from mt5_bridge.strategies.backtest.search_space import Create, SearchError, combinations, values_of
from mt5_bridge.strategies.base import ParameterError, UnableError

_TIMEFRAMES: Final = {name.removeprefix("TIMEFRAME_"): value for name, value in CONSTANT_GROUPS["TIMEFRAME"].items()}
_FORMS: Final = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")


def _moment(text: str) -> int:
    for form in _FORMS:
        try:
            return calendar.timegm(time.strptime(text, form)) * 1000
        except ValueError:
            continue
    raise argparse.ArgumentTypeError(f"must be a date such as 2025-09-22 or '2025-09-22 13:30', not {text!r}")


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, not {text!r}")
    return name, value


def _parser() -> Parser:
    parser = Parser(prog="backtest", description="Test a strategy on recorded history. Times are the broker's clock.")
    parser.add_argument(
        "strategy", choices=sorted(registry.BUILT_IN), metavar="STRATEGY", help="; ".join(registry.BUILT_IN)
    )
    parser.add_argument("--history", type=Path, required=True, help="Parquet file, or folder with files of the symbol")
    parser.add_argument("--symbol", required=True)
    parser.add_argument("--timeframe", choices=_TIMEFRAMES, default="M5", metavar="M1..MN1")
    parser.add_argument(
        "--source", choices=SOURCES, default="auto", help="play ticks, or bars; ticks where there are some"
    )
    parser.add_argument("--from", dest="first", type=_moment, default=0, metavar="DATE")
    parser.add_argument("--to", dest="last", type=_moment, default=2**62, metavar="DATE", help="exclusive")
    parser.add_argument("--set", type=_pair, action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    parser.add_argument("--volume", type=float, default=0.1, help="lots")
    parser.add_argument("--deposit", type=float, default=10_000.0)
    parser.add_argument("--leverage", type=int, default=100)
    parser.add_argument("--commission", type=float, default=0.0, help="what a lot of each deal costs")
    parser.add_argument("--swap-long", type=float, default=0.0, help="points a day")
    parser.add_argument("--swap-short", type=float, default=0.0, help="points a day")
    parser.add_argument("--spread", type=int, help="points; the recording's unless given")
    parser.add_argument("--html", type=Path, help="write the report here")
    parser.add_argument("--json", type=Path, help="write the result here")
    search = parser.add_argument_group("search")
    search.add_argument(
        "--try", dest="ranges", type=_pair, action="append", default=[], metavar="NAME=5:20:5", help="or NAME=5,10,20"
    )
    search.add_argument("--objective", choices=optimise.OBJECTIVES, default="recovery")
    search.add_argument("--unseen", type=float, default=0.3, help="share of the time that the search does not see")
    search.add_argument("--walk-forward", type=int, default=0, metavar="STEPS", help="instead of one search")
    search.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser


def _told(label: str, stream: TextIO) -> Callable[[float], bool]:
    """Tells how far it has come, on a screen only."""

    def tell(share: float) -> bool:
        if stream.isatty():
            stream.write(f"\r{label}: {share:.0%}\x1b[K" + ("\n" if share >= 1 else ""))
            stream.flush()
        return True

    return tell


def _parameters(strategy: str, given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Values in their own types. Raises ParameterError."""
    known = {parameter.name: parameter for parameter in registry.BUILT_IN[strategy].parameters}
    values: dict[str, Any] = {}
    for name, text in given:
        if name not in known:
            raise ParameterError(f"there is no parameter {name!r}; there are {', '.join(known)}")
        try:
            values[name] = json.loads(text)
        except ValueError as error:
            raise ParameterError(f"{known[name].title} cannot be {text!r}") from error
    return values


def main(argv: Sequence[str]) -> int:
    """Run it and print the figures as JSON; exit code 2 for what cannot be tested as it is asked for."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not 0 < arguments.unseen < 1:
        parser.error("--unseen must lie between 0 and 1")
    try:
        values = _parameters(arguments.strategy, arguments.set)
        create = functools.partial(registry.create, arguments.strategy)
        recording = load(arguments.history, arguments.symbol, arguments.source)
        settings = _settings(arguments, recording)
        if not lots_fit(settings.volume, recording.spec):
            spec = recording.spec
            parser.error(
                f"--volume must be {spec.volume_min:g} to {spec.volume_max:g} in steps of {spec.volume_step:g}"
            )
        if arguments.ranges:
            found = _search(arguments, create, values, recording, settings)
            text = json.dumps(found, indent=1)
            if arguments.json:
                arguments.json.write_text(text, encoding="utf-8")
            sys.stdout.write(text + "\n")
            return 0
        result = run(create(values), recording, settings, _told("backtest", sys.stderr)).plain()
        if arguments.json:
            arguments.json.write_text(json.dumps(result), encoding="utf-8")
        if arguments.html:
            arguments.html.write_text(report.html(result), encoding="utf-8")
        sys.stdout.write(json.dumps(result["statistics"], indent=1) + "\n")
    except (HistoryError, ParameterError, UnableError, SearchError, OSError) as error:
        sys.stderr.write(f"backtest: {error}\n")
        return 2
    return 0


def _settings(arguments: argparse.Namespace, recording: Recording) -> Settings:
    return Settings(
        symbol=recording.spec.name,
        timeframe=_TIMEFRAMES[arguments.timeframe],
        volume=arguments.volume,
        first_msc=max(arguments.first, recording.bounds[0]),
        last_msc=min(arguments.last - 1, recording.bounds[1]),
        deposit=arguments.deposit,
        currency=recording.spec.currency_profit,
        leverage=arguments.leverage,
        commission=arguments.commission,
        swap_long=arguments.swap_long,
        swap_short=arguments.swap_short,
        spread=arguments.spread,
    )


def _search(
    arguments: argparse.Namespace,
    create: Create,
    values: Mapping[str, Any],
    recording: Recording,
    settings: Settings,
) -> dict[str, Any]:
    ranges = {name: values_of(text) for name, text in arguments.ranges}
    tried = combinations(create, values, ranges)
    progress = _told(f"{len(tried):,} combinations", sys.stderr)
    workers = optimise.Workers(create, recording, arguments.processes)
    begun = time.monotonic()
    with workers.running():
        if arguments.walk_forward:
            found = optimise.walk_forward(
                workers, tried, settings, arguments.objective, arguments.walk_forward, progress
            ).plain()
        else:
            cut = settings.last_msc - round((settings.last_msc - settings.first_msc) * arguments.unseen)
            found = optimise.search(workers, tried, settings, arguments.objective, cut, progress).plain()
    return found | {"seconds": round(time.monotonic() - begun, 2), "processes": arguments.processes}
