"""Sockets around a broker: terminals and the operator ask, faults come between."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mt5_bridge import codec
from mt5_bridge.simulated.broker import Access, Broker
from mt5_bridge.simulated.calls import Calls
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Retcode
from mt5_bridge.simulated.faults import FAULT_TAG, ORDER_SEND, FaultKind, FaultPlan, FaultRule
from mt5_bridge.simulated.link import (
    ALGO_TRADING,
    HEADER_SIZE,
    LinkError,
    Message,
    RemoteError,
    frame_length,
    pack,
    unpack,
    wrapped,
)
from mt5_bridge.simulated.operations import Operations
from mt5_bridge.structs import Struct

log = logging.getLogger(__name__)

_HELLO_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_STRANGER_FRAME = 65_536
_LAST_WORD_SECONDS = 0.05
REFUSED = (-6, "Terminal: Authorization failed")
MORE_THAN_A_PASSWORD = (-7, "Unsupported authorization mode, OTP or certificate password needed")


class Connection:
    """What the server knows about one link. `login` and `admin` stay empty until the other side has proved itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.received = b""
        """What has come and was not looked at yet."""
        self.login = 0
        self.session = ""
        self.investor = False
        """Logged in with the password that may look and not trade."""
        self.admin = False

    @property
    def known(self) -> bool:
        """Whether the other side has proved who it is."""
        return self.admin or bool(self.login)


class Server:
    """Sockets around a Broker."""

    def __init__(self, reopen: Callable[[], Broker], admin_token: str) -> None:
        self.address = ""
        """Where it listens, empty before it does."""
        self._reopen = reopen
        self._faults = FaultPlan()
        self._blocked: dict[int, float] = {}
        self._algo_trading: dict[int, bool] = {}
        self._take(reopen())
        self._admin_token = admin_token
        self._connections: set[Connection] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._stop = asyncio.Event()
        self._failure: Exception | None = None
        self._end_told = False
        self._restart_after: float | None = None

    def _take(self, broker: Broker) -> None:
        self._broker = broker
        self._calls = Calls(broker)
        self._operations = Operations(broker, self._faults)
        self._open_board(on=True)

    def _open_board(self, *, on: bool) -> None:
        """Let terminals read quotes without asking, unless faults may come between."""
        if self._broker.board is not None:
            self._broker.board.open(on=on and not self._faults.is_armed)

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stop.set()

    async def run(self, host: str, port: int) -> None:
        """Serve until `stop`. Raises OSError if the address cannot be had, sqlite3.Error if the disk fails."""
        listener = await asyncio.start_server(self._serve, host, port)
        address = listener.sockets[0].getsockname()
        self.address = f"{address[0]}:{address[1]}"
        ready = {"ready": True, "address": self.address, "server": self._broker.server}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        while True:
            market = asyncio.create_task(self._move_market())
            await self._stop.wait()
            market.cancel()
            self._open_board(on=False)
            listener.close()
            for connection in list(self._connections):
                connection.writer.transport.abort()
            if self._serving:
                await asyncio.wait(self._serving, timeout=_CLOSE_SECONDS)
            if self._failure is not None:
                raise self._failure
            self._broker.save_clock()
            if self._restart_after is None:
                return
            await asyncio.sleep(self._restart_after)
            self._restart_after = None
            self._stop.clear()
            self._take(self._reopen())
            listener = await asyncio.start_server(self._serve, *address[:2])

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
        connection = Connection(reader, writer)
        self._connections.add(connection)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while not self._stop.is_set():
                if connection.known:
                    message = await self._receive(connection)
                else:
                    async with asyncio.timeout(_HELLO_SECONDS):
                        message = await self._receive(connection)
                frame, late = self._answer(connection, message)
                if late:
                    await asyncio.sleep(late)
                writer.write(frame)
                await writer.drain()
        except (LinkError, OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # strangers and broken links: the connection just ends
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _receive(self, connection: Connection) -> Message:
        """The next message; what comes at once is read at once."""
        while len(connection.received) < HEADER_SIZE:
            await _read_more(connection)
        length = frame_length(connection.received[:HEADER_SIZE])
        if not connection.known and length > _STRANGER_FRAME:
            raise LinkError("too large for a first message")
        end = HEADER_SIZE + length
        if len(connection.received) < end:
            connection.received += await connection.reader.readexactly(end - len(connection.received))
        body, connection.received = connection.received[HEADER_SIZE:end], connection.received[end:]
        return unpack(body)

    def _answer(self, connection: Connection, message: Message) -> tuple[bytes, float]:
        """The frame to send, and how many seconds late a fault makes it. Raises LinkError to end the link instead."""
        number, verb, arguments = message
        try:
            value = self._do(connection, verb, arguments)
            late = value.late if isinstance(value, _Late) else 0.0
            return pack((number, True, value.value if isinstance(value, _Late) else value)), late
        except RemoteError as error:
            return pack((number, False, (error.code, error.text))), 0.0
        except LinkError:
            raise
        except sqlite3.Error as error:
            self._fail(error)
            raise LinkError("the disk does not take it") from error
        except Exception:
            log.exception("the request %r failed", verb)
            return pack((number, False, (-10000, "IPC call failed"))), 0.0

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
        if time.monotonic() < self._blocked.get(login, 0.0):
            raise LinkError("no way to this account for now")
        access = self._broker.access(login, password, server) if session else None
        if access is None:
            raise RemoteError(*REFUSED)
        if self._broker.needs_more_than_a_password(login):
            raise RemoteError(*MORE_THAN_A_PASSWORD)
        for other in list(self._connections):
            # The terminal has come back: from now on nothing that its old link still holds is carried out.
            if other is not connection and other.session == session:
                other.login = 0
                other.writer.transport.abort()
                self._connections.discard(other)
        connection.login, connection.session = login, session
        connection.investor = access is Access.INVESTOR
        if self._broker.ended:
            self._tell_end(connection)
        self._tell_algo_trading(connection)
        return True

    def _tell_algo_trading(self, connection: Connection) -> None:
        """The button in the terminal follows the operator's wish, if there ever was one (rule H5)."""
        on = self._algo_trading.get(connection.login)
        if on is not None:
            connection.writer.write(pack((0, True, (ALGO_TRADING, on))))

    def _do_terminal(self, connection: Connection, verb: str, arguments: Any) -> Any:
        match verb, arguments:
            case "call", (str(function), args, kwargs, tuple(selected)):
                values = codec.decode(args), codec.decode(kwargs)
                faults = self._struck(connection, function, {})
                wrong = faults.get(FaultKind.WRONG_ACCOUNT)
                login = connection.login if wrong is None else wrong.other
                answer = self._calls.call(login, function, *values, selected, investor=connection.investor)
                return _marred(wrapped(answer), faults)
            case "send", (int(sequence), int(request_id), request):
                self._broker.advance(time.monotonic())
                fields = codec.decode(request)
                if connection.investor:
                    refused = Request.of(fields)
                    return _result(self._broker.exchange.refusal(refused, request_id, Retcode.TRADE_DISABLED))
                faults = self._struck(connection, ORDER_SEND, fields)
                sent = self._broker.send(connection.login, connection.session, sequence, request_id, fields, faults)
                return _marred(_result(sent), faults)
            case "outcome", (int(sequence),):
                known = self._broker.outcome(connection.session, sequence)
                return None if known is None else _result(known)
        return self._tell(verb, arguments)

    def _tell(self, verb: str, arguments: Any) -> Any:
        """What a terminal asks for itself."""
        match verb, arguments:
            case "symbols", ():
                return tuple(self._broker.market.specs)
            case "board", ():
                return None if self._broker.board is None else tuple(self._broker.board.key)
            case "ping", ():
                return True
        raise RemoteError(-7, "Terminal: Unsupported function")

    def _struck(self, connection: Connection, function: str, fields: dict[str, Any]) -> dict[FaultKind, FaultRule]:
        """The faults of this request. Raises LinkError for those that come before it is looked at."""
        faults = self._faults.strike(connection.login, function, fields)
        if FaultKind.DISCONNECT in faults:
            self._throw_out(connection.login, faults[FaultKind.DISCONNECT].seconds)
            raise LinkError("cut on demand")
        if FaultKind.DOUBLE_LOGIN in faults:
            text = f"'{connection.login}': logged in from another place"
            connection.writer.write(pack((0, True, text)))
            raise LinkError("thrown out on demand")
        return faults

    def _throw_out(self, login: int, seconds: float) -> None:
        """Cut the links of an account (0: of all) and let none of them back for so long."""
        for connection in list(self._connections):
            if connection.login and login in (0, connection.login):
                self._blocked[connection.login] = time.monotonic() + seconds
                connection.writer.transport.abort()

    def _do_admin(self, verb: str, arguments: Any) -> Any:
        match verb, arguments:
            case "status", ():
                sessions = Counter(one.login for one in self._connections if one.login)
                return codec.encode(self._broker.status(sessions))
            case "disconnect", (int(login), float(seconds)):
                self._throw_out(login, seconds)
                return True
            case "algo_trading", (int(login), bool(on)):
                self._algo_trading[login] = on
                for connection in self._connections:
                    if connection.login == login:
                        self._tell_algo_trading(connection)
                return True
            case "restart", (float(seconds),):
                self._restart_after = seconds
                asyncio.get_running_loop().call_later(_LAST_WORD_SECONDS, self._stop.set)
                return True
        try:
            return self._operations.do(verb, arguments)
        finally:
            self._open_board(on=not self._stop.is_set())


async def _read_more(connection: Connection) -> None:
    """Raises LinkError at the end."""
    more = await connection.reader.read(_STRANGER_FRAME)
    if not more:
        raise LinkError("closed by the other side")
    connection.received += more


@dataclass(frozen=True)
class _Late:
    """A value that a fault holds back for so many seconds."""

    value: Any
    late: float


def _result(sent: Struct) -> tuple[int, Any]:
    """What became of a request: its number, which is 0 if it would not reach a server, and an OrderSendResult."""
    return sent.request_id, wrapped(sent)


def _marred(value: Any, faults: Mapping[FaultKind, FaultRule]) -> Any:
    """An answer as faults let it through. Raises LinkError when none comes."""
    if FaultKind.LOST_LINK in faults:
        raise LinkError("cut on demand after the request was carried out")
    for kind in (FaultKind.LOST_ANSWER, FaultKind.WEDGED):
        if kind in faults:
            value = (FAULT_TAG, str(kind), faults[kind].seconds, value)
    slow = faults.get(FaultKind.SLOW)
    return value if slow is None else _Late(value, slow.seconds)
