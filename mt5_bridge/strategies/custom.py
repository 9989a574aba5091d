"""The bot process of brought code, inside of its sandbox: `python -m mt5_bridge.strategies.custom --config FILE`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from mt5_bridge.client.errors import BridgeError, BridgeLost
from mt5_bridge.client.run import run_script
from mt5_bridge.strategies import runner
from mt5_bridge.strategies.base import Strategy
from mt5_bridge.strategies.bot_files import BotConfig, BotReport, Phase, load_bot_config
from mt5_bridge.strategies.brought import BroughtError, blame, check_syntax, load_strategy
from mt5_bridge.strategies.paper import open_terminal
from mt5_bridge.worker_config import ConfigError, load_object, read_token, required


def run_strategy(config_file: Path, report: BotReport, folder: Path, entry: str) -> int:
    """As a built-in one, with the user's class."""
    try:
        strategy = load_strategy(folder, entry)
    except BroughtError as error:
        return _failed(report, str(error))
    try:
        return runner.main(["--config", str(config_file)], lambda _, values: _make(strategy, values, folder))
    except BroughtError as error:
        return _failed(report, str(error))
    except Exception as error:  # noqa: BLE001 - the user's own, told to the user
        report.error(str(blame(error, folder)))
        return 1


def run_user_script(config: BotConfig, report: BotReport, script: Path, folder: Path) -> int:
    """An unmodified script. Its end is the bot's: it is not started again before its owner says so."""
    _end_on_signal()
    try:
        check_syntax(folder)
        terminal = open_terminal(config, report.fill, read_token(config.token_file), initialized=False, compat=True)
    except BroughtError as error:
        return _failed(report, str(error))
    except (BridgeError, BridgeLost) as error:
        report.status(Phase.STARTING, f"waiting for the terminal: {error}")
        return 1
    report.status(Phase.RUNNING)
    try:
        run_script(script, [], terminal)
    except SystemExit as error:
        if error.code:
            return _failed(report, f"The script ended with {error.code!r}.")
    except Exception as error:  # noqa: BLE001 - the user's own, told to the user
        return _failed(report, str(blame(error, folder)))
    report.info("The script has come to its end.")
    return _failed(report, "The script has come to its end. Start the bot to run it again.", tell=False)


def _make(strategy: type[Strategy], values: Mapping[str, Any], folder: Path) -> Strategy:
    """The farm keeps yes and no as 1 and 0."""
    switches = {each.name for each in strategy.parameters if each.type is bool}
    try:
        return strategy({name: bool(value) if name in switches else value for name, value in values.items()})
    except ValueError:
        raise
    except Exception as error:
        raise blame(error, folder) from error


def _failed(report: BotReport, reason: str, *, tell: bool = True) -> int:
    if tell:
        report.error(reason)
    report.status(Phase.FAILED, reason)
    return runner.FAILED_EXIT_CODE


def _end_on_signal() -> None:
    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        os._exit(0)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes as the runner's."""
    parser = argparse.ArgumentParser(prog="mt5farm-bridge custom", description="Run brought code on one terminal.")
    parser.add_argument("--config", required=True, type=Path)
    options = parser.parse_args(arguments)
    try:
        data = load_object(options.config)
        config = load_bot_config(options.config)
        folder, entry = Path(required(data, "code_folder", str)), required(data, "entry", str)
        report = BotReport(config)
        if data.get("kind") == "script":
            return run_user_script(config, report, folder / entry, folder)
    except ConfigError as error:
        sys.stderr.write(f"mt5farm-bridge custom: {error}\n")
        return 2
    return run_strategy(options.config, report, folder, entry)


if __name__ == "__main__":
    sys.exit(main())
