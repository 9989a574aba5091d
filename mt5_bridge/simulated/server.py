"""The broker server process: `python -m mt5_bridge.simulated.server --data DIR --listen HOST:PORT`.

One asyncio thread moves the market and answers terminals and the operator, so every request sees one consistent book.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import logging
import os
import secrets
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mt5_bridge import codec
from mt5_bridge.simulated.broker import Broker, BrokerError
from mt5_bridge.simulated.calls import Calls
from mt5_bridge.simulated.link import (
    HEADER_SIZE,
    LinkError,
    Message,
    RemoteError,
    frame_length,
    host_port,
    pack,
    unpack,
)
from mt5_bridge.simulated.market.clock import FASTEST
from mt5_bridge.simulated.market.history import HistoryError
from mt5_bridge.simulated.market.market import Market
from mt5_bridge.simulated.market.replay import replay_market
from mt5_bridge.simulated.market.synthetic import (
    DEFAULT_SYMBOLS,
    default_start,
    synthetic_market,
    synthetic_symbols,
)
from mt5_bridge.simulated.parser import Parser
from mt5_bridge.simulated.store import Store

log = logging.getLogger(__name__)

SERVER_NAME = "MT5Farm-Demo"
ADMIN_TOKEN_FILE = "admin.token"  # noqa: S105 - a file name
_HELLO_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_STRANGER_FRAME = 65_536
MAX_SPEED = 100_000.0
MAX_STEP_TICKS = 100_000
MAX_STEP_MSC = 7 * 86_400_000
REFUSED = (-6, "Terminal: Authorization failed")


class Connection:
    """What the server knows about one link. `login` and `admin` stay empty until the other side has proved itself."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.login = 0
        self.session = ""
        self.admin = False

    @property
    def known(self) -> bool:
        """Whether the other side has proved who it is."""
        return self.admin or bool(self.login)


class Server:
    """Sockets around a Broker."""

    def __init__(self, broker: Broker, admin_token: str) -> None:
        self._broker = broker
        self._calls = Calls(broker)
        self._admin_token = admin_token
        self._connections: set[Connection] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._stop = asyncio.Event()
        self._failure: Exception | None = None
        self._end_told = False

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stop.set()

    async def run(self, host: str, port: int) -> None:
        """Serve until `stop`. Raises OSError if the address cannot be had, sqlite3.Error if the disk fails."""
        listener = await asyncio.start_server(self._serve, host, port)
        address = listener.sockets[0].getsockname()
        ready = {"ready": True, "address": f"{address[0]}:{address[1]}", "server": self._broker.server}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        market = asyncio.create_task(self._move_market())
        await self._stop.wait()
        market.cancel()
        listener.close()
        for connection in list(self._connections):
            connection.writer.transport.abort()
        if self._serving:
            await asyncio.wait(self._serving, timeout=_CLOSE_SECONDS)
        if self._failure is not None:
            raise self._failure
        self._broker.save_clock()

    async def _move_market(self) -> None:
        while True:
            try:
                delay = self._broker.advance(time.monotonic())
            except Exception as error:  # noqa: BLE001 - a book that cannot be kept must not go on trading
                self._fail(error)
                return
            if self._broker.ended and not self._end_told:
                self._end_told = True
                for connection in self._connections:
                    self._tell_end(connection)
            await asyncio.sleep(delay)

    def _fail(self, error: Exception) -> None:
        """Stop at once: what is in memory may be ahead of the disk, and the disk is the truth."""
        self._failure = error
        self._stop.set()

    @staticmethod
    def _tell_end(connection: Connection) -> None:
        if connection.login:
            text = "The market has come to the end of its history and quotes no more"
            connection.writer.write(pack((0, True, text)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while not self._stop.is_set():
                message = await self._receive(reader, connection)
                writer.write(self._answer(connection, message))
                await writer.drain()
        except (LinkError, OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # strangers and broken links: the connection just ends
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _receive(self, reader: asyncio.StreamReader, connection: Connection) -> Message:
        async with asyncio.timeout(None if connection.known else _HELLO_SECONDS):
            length = frame_length(await reader.readexactly(HEADER_SIZE))
            if not connection.known and length > _STRANGER_FRAME:
                raise LinkError("too large for a first message")
            return unpack(await reader.readexactly(length))

    def _answer(self, connection: Connection, message: Message) -> bytes:
        number, verb, arguments = message
        try:
            return pack((number, True, self._do(connection, verb, arguments)))
        except RemoteError as error:
            return pack((number, False, (error.code, error.text)))
        except sqlite3.Error as error:
            self._fail(error)
            raise LinkError("the disk does not take it") from error
        except Exception:
            log.exception("the request %r failed", verb)
            return pack((number, False, (-10000, "IPC call failed")))

    def _do(self, connection: Connection, verb: str, arguments: Any) -> Any:
        match verb, arguments:
            case "login", (int(login), str(password), str(server), str(session)):
                return self._log_in(connection, login, password, server, session)
            case "admin", (str(token),):
                if not hmac.compare_digest(token.encode(), self._admin_token.encode()):
                    raise RemoteError(*REFUSED)
                connection.admin = True
                return True
        if connection.admin:
            return self._do_admin(verb, arguments)
        if connection.login:
            return self._do_terminal(connection, verb, arguments)
        raise LinkError("not logged in")

    def _log_in(self, connection: Connection, login: int, password: str, server: str, session: str) -> Any:
        if not session or not self._broker.may_log_in(login, password, server):
            raise RemoteError(*REFUSED)
        for other in list(self._connections):
            # The terminal has come back: from now on nothing that its old link still holds is carried out.
            if other is not connection and other.session == session:
                other.login = 0
                other.writer.transport.abort()
                self._connections.discard(other)
        connection.login, connection.session = login, session
        if self._broker.ended:
            self._tell_end(connection)
        return True

    def _do_terminal(self, connection: Connection, verb: str, arguments: Any) -> Any:
        match verb, arguments:
            case "call", (str(function), args, kwargs, tuple(selected)):
                values = codec.decode(args), codec.decode(kwargs)
                return codec.encode(self._calls.call(connection.login, function, *values, selected))
            case "send", (int(sequence), int(request_id), request):
                self._broker.advance(time.monotonic())
                fields = codec.decode(request)
                return codec.encode(
                    self._broker.send(connection.login, connection.session, sequence, request_id, fields)
                )
            case "outcome", (int(sequence),):
                return codec.encode(self._broker.outcome(connection.session, sequence))
            case "symbols", ():
                return tuple(self._broker.market.specs)
            case "ping", ():
                return True
        raise RemoteError(-7, "Terminal: Unsupported function")

    def _do_admin(self, verb: str, arguments: Any) -> Any:
        book = self._broker.book
        match verb, arguments:
            case "create_account", (int(login), str(password), float(balance), str(currency), int(leverage), str(name)):
                return self._broker.create_account(login, password, balance, currency, leverage, name)
            case "deals", (int(login),):
                return codec.encode(tuple(_account(book.accounts, login).deals))
            case "orders", (int(login),):
                account = _account(book.accounts, login)
                active = [order.active(book.quotes.get(order.symbol)) for order in account.orders.values()]
                return codec.encode((*account.history, *active))
            case "status", ():
                sessions = Counter(one.login for one in self._connections if one.login)
                return codec.encode(self._broker.status(sessions))
        return self._do_pace(verb, arguments)

    def _do_pace(self, verb: str, arguments: Any) -> Any:
        """How the market's time runs: pause, resume, speed, step. Each returns the market time (ms)."""
        wall = time.monotonic()
        clock = self._broker.clock
        match verb, arguments:
            case "pause", ():
                self._broker.advance(wall)
                clock.pause(wall)
            case "resume", ():
                clock.resume(wall)
            case "speed", (float(speed),) if 0 < speed <= MAX_SPEED or speed == FASTEST:
                self._broker.advance(wall)
                clock.set_speed(speed, wall)
            case "step", (int(ticks), int(msc)) if 0 <= ticks <= MAX_STEP_TICKS and 0 <= msc <= MAX_STEP_MSC:
                try:
                    self._broker.step(wall, ticks=ticks, milliseconds=msc)
                except BrokerError as error:
                    raise RemoteError(-2, str(error)) from error
            case "speed" | "step", _:
                raise RemoteError(-2, "Terminal: Invalid params")
            case _:
                raise RemoteError(-7, "Terminal: Unsupported function")
        return self._broker.book.now_msc


def _account(accounts: dict[int, Any], login: int) -> Any:
    if login not in accounts:
        raise RemoteError(-4, "Terminal: Not found")
    return accounts[login]


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
        start = str(default_start(int(time.time())))
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
        broker = Broker(
            market,
            store,
            server=arguments.server_name,
            speed=arguments.speed,
            wall=time.monotonic(),
            paused=arguments.paused,
        )
    except (HistoryError, BrokerError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"The data folder {arguments.data} cannot be used: {error.strerror}; choose another --data.\n")
        return 2
    try:
        asyncio.run(_with(broker, token, arguments.listen))
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


async def _with(broker: Broker, token: str, listen: str) -> None:
    await _run(Server(broker, token), listen)


if __name__ == "__main__":
    sys.exit(main())
