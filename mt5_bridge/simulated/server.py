"""The broker server process: `python -m mt5_bridge.simulated.server --data DIR --listen HOST:PORT`.

One asyncio thread moves the market and answers terminals and the operator, so every request sees one consistent book.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mt5_bridge.garbage import collect_rarely
from mt5_bridge.simulated.broker import Broker, BrokerError
from mt5_bridge.simulated.engine.conventions import Conventions, ConventionsError
from mt5_bridge.simulated.link import host_port
from mt5_bridge.simulated.market.clock import FASTEST
from mt5_bridge.simulated.market.history import HistoryError
from mt5_bridge.simulated.market.market import Market
from mt5_bridge.simulated.market.replay import replay_market
from mt5_bridge.simulated.market.server_clock import broker_time
from mt5_bridge.simulated.market.synthetic import (
    DEFAULT_SYMBOLS,
    default_start,
    synthetic_market,
    synthetic_symbols,
)
from mt5_bridge.simulated.pace import MAX_SPEED
from mt5_bridge.simulated.parser import Parser
from mt5_bridge.simulated.quote_board import QuoteBoard
from mt5_bridge.simulated.serving import Server
from mt5_bridge.simulated.store import Store

SERVER_NAME = "MT5Farm-Demo"
CONVENTIONS_FILE = "conventions.json"
ADMIN_TOKEN_FILE = "admin.token"  # noqa: S105 - a file name


def speed_of(text: str) -> float:
    """A speed given on the command line. Raises ArgumentTypeError."""
    try:
        speed = FASTEST if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not (0 < speed <= MAX_SPEED or text == "max"):
        raise argparse.ArgumentTypeError(f"must be above 0 and at most {MAX_SPEED:.0f}, or max, not {text!r}")
    return speed


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="broker", description="A simulated broker server with a market of its own.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the broker's books")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="address for terminals; port 0 picks one")
    parser.add_argument(
        "--history", type=Path, help="folder with Parquet files to replay instead of a synthetic market"
    )
    parser.add_argument("--symbols", default="", help="comma list of symbols")
    parser.add_argument(
        "--speed", type=speed_of, default=1.0, help="market seconds in a second, or 'max' for as fast as possible"
    )
    parser.add_argument("--paused", action="store_true", help="start with the market's time standing still")
    parser.add_argument("--seed", type=int, default=1, help="seed of the synthetic market")
    parser.add_argument("--server-name", default=SERVER_NAME, help="name that terminals log in to")
    arguments = parser.parse_args(argv)
    arguments.symbols = [name.strip() for name in arguments.symbols.split(",") if name.strip()]
    if arguments.seed < 0:
        parser.error("--seed must not be negative")
    try:
        host_port(arguments.listen)
    except ValueError:
        parser.error(f"--listen must be HOST:PORT, not {arguments.listen!r}")
    return arguments


def _market(arguments: argparse.Namespace, store: Store) -> Market:
    if arguments.history is not None:
        return replay_market(arguments.history, arguments.symbols, _clock(store), arguments.data)
    symbols = arguments.symbols or list(DEFAULT_SYMBOLS)
    unknown = sorted(set(symbols) - synthetic_symbols())
    if unknown:
        known = ", ".join(sorted(synthetic_symbols()))
        raise BrokerError(f"The synthetic market has no {', '.join(unknown)}; choose among {known}.")
    start = store.meta("synthetic_start")
    if start is None:
        start = str(default_start(broker_time(int(time.time()))))
        store.set_meta("synthetic_start", start)
    return synthetic_market(symbols, arguments.seed, int(start), _clock(store))


def _clock(store: Store) -> int | None:
    """The market time (ms) that the books have come to."""
    clock = store.meta("clock")
    return None if clock is None else int(clock)


def _admin_token(data: Path) -> str:
    path = data / ADMIN_TOKEN_FILE
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32))
    return path.read_text().strip()


async def _run(server: Server, listen: str) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.run(*host_port(listen))


def _open_store(data: Path) -> Store:
    data.mkdir(parents=True, exist_ok=True)
    try:
        return Store(data / "broker.sqlite3")
    except sqlite3.Error as error:
        raise BrokerError(
            f"The books in {data} cannot be opened ({error}); "
            "stop the other broker that uses them or choose another --data."
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the broker until SIGTERM or SIGINT; returns the exit code."""
    arguments = _arguments(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        store = _open_store(arguments.data)
        token = _admin_token(arguments.data)
        market = _market(arguments, store)
        conventions = Conventions.read(arguments.data / CONVENTIONS_FILE)
        board = QuoteBoard(arguments.data, tuple(market.specs))

        def reopen() -> Broker:
            return Broker(
                market,
                store,
                server=arguments.server_name,
                speed=arguments.speed,
                wall=time.monotonic(),
                conventions=conventions,
                paused=arguments.paused,
                board=board,
            )

        server = Server(reopen, token)
    except (HistoryError, BrokerError, ConventionsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"The data folder {arguments.data} cannot be used: {error.strerror}; choose another --data.\n")
        return 2
    collect_rarely()
    try:
        asyncio.run(_run(server, arguments.listen))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        sys.stderr.write(f"The broker cannot listen on {arguments.listen} ({reason}); choose another --listen.\n")
        return 2
    except sqlite3.Error as error:
        sys.stderr.write(f"The broker stopped because its books in {arguments.data} cannot be written: {error}.\n")
        return 1
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
