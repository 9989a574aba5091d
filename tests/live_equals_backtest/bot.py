"""A bot process on a replay that waits for it: after each look the paused market makes its next step."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from mt5_bridge.simulated.admin import BrokerAdmin
from mt5_bridge.strategies import registry
from mt5_bridge.strategies.bot_files import BotReport, load_bot_config
from mt5_bridge.strategies.runner import Bot, connector


def main() -> int:
    """Run until the market has come to `--until`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--token", type=Path, required=True, help="file with the broker's admin token")
    parser.add_argument("--until", type=int, required=True, help="market time (ms) that is not looked at any more")
    arguments = parser.parse_args()
    config = load_bot_config(arguments.config)
    admin = BrokerAdmin(arguments.broker, arguments.token.read_text().strip())
    stop = threading.Event()

    def step() -> None:
        if admin.step(ticks=1) >= arguments.until:
            stop.set()

    strategy = registry.create(config.strategy, config.parameters)
    Bot(config, strategy, BotReport(config), connector(config), stop, look_again=step).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
