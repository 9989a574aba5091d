"""The bot process: one strategy on one terminal. `python -m mt5_bridge.strategies.runner --config FILE`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from mt5_bridge.strategies import registry
from mt5_bridge.strategies.base import AwayError, Context, ParameterError, Strategy, UnableError, Wish
from mt5_bridge.strategies.bot_files import (
    BotConfig,
    BotReport,
    Memory,
    Phase,
    load_bot_config,
    load_memory,
    save_memory,
)
from mt5_bridge.strategies.execution import Execution, StoppedError
from mt5_bridge.strategies.paper import open_terminal
from mt5_bridge.strategies.session import Session
from mt5_bridge.worker_config import ConfigError, read_token

FAILED_EXIT_CODE: Final = 3
POLL_SECONDS: Final = 0.1
STOP_SECONDS: Final = 1.5
_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 1.0
_STEP_TOLERANCE: Final = 1e-6
_NOT_FOUND: Final = frozenset({-1, -4})
_DEALS_SECONDS: Final = 7 * 86_400
_END_OF_TIME: Final = 2**31 - 1


class FailedError(Exception):
    """The bot can never work as it is configured. The message is safe to show."""


class Bot:
    """Runs a strategy until it is stopped, through any number of connections. Acts once per closed bar.

    `look_again` returns when the market may have moved: after a short time, or when a replay has made its next step.
    """

    def __init__(
        self,
        config: BotConfig,
        strategy: Strategy,
        report: BotReport,
        connect: Callable[[], MetaTrader5],
        stop: threading.Event,
        look_again: Callable[[], object] | None = None,
    ) -> None:
        self._config = config
        self._report = report
        self._connect = connect
        self._stop = stop
        self._look_again = look_again or (lambda: stop.wait(POLL_SECONDS))
        self._execution = Execution(config, report, stop)
        self._context = Context(config.symbol, config.timeframe, config.volume, config.magic, log=report.info)
        self._session = Session(strategy, self._context, self._carry_out)
        self._memory = Memory(config.revision)
        self._api: MetaTrader5 | None = None
        self._deals_from = 0
        self._last_tick = 0
        self._started = False

    def run(self) -> None:
        """Work until stopped. Raises FailedError."""
        backoff = _FIRST_BACKOFF
        while not self._stop.is_set():
            try:
                with self._connect() as api:
                    self._prepare(api)
                    backoff = _FIRST_BACKOFF
                    self._trade(api)
            except StoppedError:
                break
            except (BridgeLost, BridgeError, AwayError) as error:
                self._report.status(Phase.STARTING, f"waiting for the terminal: {error}")
                self._stop.wait(backoff)
                backoff = min(backoff * 2, _LAST_BACKOFF)
        if self._started:
            self._session.stop()
            self._remember()

    def _prepare(self, api: MetaTrader5) -> None:
        if not api.describe()["connected"]:
            raise AwayError("it is not connected to its account")
        if not api.symbol_select(self._config.symbol, True) and api.last_error()[0] not in _NOT_FOUND:
            raise AwayError(api.last_error()[1])
        info = api.symbol_info(self._config.symbol)
        if info is None:
            if api.last_error()[0] in _NOT_FOUND:
                raise FailedError(f"the broker has no symbol {self._config.symbol}")
            raise AwayError(api.last_error()[1])
        check_volume(self._config.volume, info)
        self._execution.resume(api)
        self._context.terminal = self._api = api
        if not self._started:
            self._memory = load_memory(self._config)
            self._context.state = self._memory.state
            self._session.start()
            self._started = True

    def _trade(self, api: MetaTrader5) -> None:
        while not self._stop.is_set():
            self._look(api)
            self._look_again()

    def _look(self, api: MetaTrader5) -> None:
        """One moment of the market: own deals, then a bar that has closed, then the tick."""
        # The newest bar is still forming; the ones before it are closed.
        wanted = self._session.bars_needed + 1
        bars = api.copy_rates_from_pos(self._config.symbol, self._config.timeframe, 0, wanted)
        if bars is None:
            raise AwayError(api.last_error()[1])
        tick = self._context.tick() if self._session.wants_ticks else None
        if self._session.wants_trades:
            self._tell_deals(api)
        self._report.status(Phase.RUNNING, "" if len(bars) == wanted else "waiting for enough bars")
        if len(bars) == wanted and int(bars["time"][-2]) > self._memory.last_bar:
            self._session.bar(bars[:-1])
            self._memory.last_bar = int(bars["time"][-2])
            self._remember()
        if tick is not None and tick.time_msc > self._last_tick:
            self._session.tick(tick)
            self._last_tick = tick.time_msc
            if self._context.wishes:
                self._remember()

    def _tell_deals(self, api: MetaTrader5) -> None:
        """Tell the strategy of its deals since the last look; those from before its first start are not its own."""
        known = self._memory.last_deal
        begin = self._deals_from or self._context.tick().time - _DEALS_SECONDS
        deals = api.history_deals_get(begin, _END_OF_TIME)
        if deals is None:
            raise AwayError(api.last_error()[1])
        if known is None:
            self._memory.last_deal = max((deal.ticket for deal in deals), default=0)
            return
        self._deals_from = max((deal.time for deal in deals), default=begin)
        for deal in sorted(deals, key=lambda one: int(one.ticket)):
            if deal.ticket > known and (deal.symbol, deal.magic) == (self._config.symbol, self._config.magic):
                self._session.trade(deal)
                self._memory.last_deal = deal.ticket
                self._remember()

    def _remember(self) -> None:
        """Keep what a restart needs. Raises FailedError."""
        self._memory.state = self._context.state
        try:
            save_memory(self._config, self._memory)
        except ConfigError as error:
            raise FailedError(str(error)) from error

    def _carry_out(self, wishes: Sequence[Wish], occasion: str) -> None:
        if self._api is None:
            raise AwayError("it is not connected")
        self._execution.carry_out(self._api, wishes, occasion)


def check_volume(volume: float, info: Any) -> None:
    """Whether the symbol can be traded in this volume (lots). Raises FailedError."""
    if not info.volume_min - _STEP_TOLERANCE <= volume <= info.volume_max + _STEP_TOLERANCE:
        raise FailedError(
            f"{volume:g} lots are outside {info.volume_min:g} to {info.volume_max:g}, the limits of {info.name}"
        )
    steps = volume / info.volume_step if info.volume_step else 0.0
    if abs(steps - round(steps)) > _STEP_TOLERANCE:
        raise FailedError(f"{volume:g} lots are not a multiple of {info.volume_step:g}, the step of {info.name}")


def connector(config: BotConfig) -> Callable[[], MetaTrader5]:
    """Opens connections to the bot's worker."""

    def connect() -> MetaTrader5:
        # Read anew each time: the agent may have replaced it.
        try:
            token = read_token(config.token_file)
        except ConfigError as error:
            raise AwayError(str(error)) from error
        return open_terminal(config, BotReport(config).fill, token)

    return connect


def _stop_on_signal(stop: threading.Event) -> None:
    def handle(*_: object) -> None:
        stop.set()
        # A call may be waiting for the terminal; the journal settles an order that is under way.
        timer = threading.Timer(STOP_SECONDS, os._exit, (0,))
        timer.daemon = True
        timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def main(
    arguments: Sequence[str] | None = None,
    create: Callable[[str, Mapping[str, Any]], Strategy] = registry.create,
) -> int:
    """Entry point. Exit code 0 after SIGTERM, 2 for a file that cannot be read, 3 when the bot can never work.

    `create` makes the strategy of a name and its parameters.
    """
    parser = argparse.ArgumentParser(prog="mt5farm-bridge bot", description="Run one strategy on one terminal.")
    parser.add_argument("--config", required=True, type=Path, help="JSON file, readable by this user alone")
    options = parser.parse_args(arguments)
    try:
        config = load_bot_config(options.config)
    except ConfigError as error:
        sys.stderr.write(f"mt5farm-bridge bot: {error}\n")
        return 2
    stop = threading.Event()
    _stop_on_signal(stop)
    report = BotReport(config)
    report.status(Phase.STARTING)
    try:
        strategy = create(config.strategy, config.parameters)
        Bot(config, strategy, report, connector(config), stop).run()
    except (ParameterError, UnableError, FailedError, ConfigError) as error:
        report.error(str(error))
        report.status(Phase.FAILED, str(error))
        return FAILED_EXIT_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main())
