"""The simulated terminal process: `python -m mt5_bridge.simulated.terminal --folder DIR --ipc unix:/path`.

It logs in with the account of its start-up file, keeps the Market Watch, and serves the API to programs beside it. It
stays up when the login is refused or the broker is away, as MT5 does, and says so through the API.
"""

from __future__ import annotations

import itertools
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mt5_bridge import codec
from mt5_bridge.contract import STRUCTS
from mt5_bridge.garbage import collect_rarely
from mt5_bridge.simulated.broker_link import BrokerLink, LoginState
from mt5_bridge.simulated.engine.conventions import USUAL, Conventions, ConventionsError
from mt5_bridge.simulated.engine.model import Action
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Retcode
from mt5_bridge.simulated.faults import FAULT_TAG, FaultKind
from mt5_bridge.simulated.installations import announce
from mt5_bridge.simulated.ipc import AnswerLostError, IpcError, IpcServer
from mt5_bridge.simulated.link import LinkError, Message, RemoteError, unwrapped, wrapped
from mt5_bridge.simulated.market_watch import MarketWatch
from mt5_bridge.simulated.parser import Parser
from mt5_bridge.simulated.quote_board import BoardKey, BoardReader, board_reader
from mt5_bridge.simulated.terminal_folder import (
    BUILD,
    Credentials,
    FolderError,
    Journal,
    Startup,
    read_startup,
    server_address,
)
from mt5_bridge.structs import AccountInfo, OrderSendResult, TerminalInfo

BUILD_DATE = "19 Jun 2026"
MAX_BARS = 100_000
CALL_FAILED = (-1, "Terminal: Call failed")
NOT_FOUND = (-4, "Terminal: Not found")
INCOMPATIBLE = (-5, "Terminal: Incompatible versions, please install the latest version of Terminal and Python module")
API_DISABLED = (-8, "Auto-Trading using Python API disabled in Terminal")
TIMED_OUT = (-10005, "IPC timeout")

_CALL_SECONDS = 20.0
_SEND_SECONDS = 8.0
_SETTLE_SECONDS = 8.0
_KEPT = frozenset(
    {
        "account_info",
        "orders_get",
        "orders_total",
        "positions_get",
        "positions_total",
        "symbol_info",
        "symbol_info_tick",
        "symbols_get",
        "symbols_total",
    }
)
"""Functions whose last answer is still served while the broker is away (rule B17)."""
_KEPT_ANSWERS = 256
_NEEDS_BUILD = {"symbols_total": 2364, "symbols_get": 2364}
_BOOK_FUNCTIONS = frozenset({"market_book_add", "market_book_release", "market_book_get"})


class Terminal:
    """Answers programs: what concerns the terminal itself here, everything else through the broker link."""

    def __init__(self, folder: Path, startup: Startup, journal: Journal, conventions: Conventions = USUAL) -> None:
        self._conventions = conventions
        self._algo_trading = startup.trade_allowed
        self._folder = folder
        self._startup = startup
        self._journal = journal
        self._watch = MarketWatch(folder / "config" / "market_watch.json")
        self._watching = threading.Lock()
        self._kept: dict[Message, Any] = {}
        self._board: BoardReader | None = None
        self._loaded: set[str] = set()
        self._sending = threading.Lock()
        self._stopping = threading.Event()
        self._sequence = itertools.count(1)
        self._request_id = 1
        self._ping = 0
        self._here: dict[str, Callable[..., Any]] = {
            "terminal_info": lambda: wrapped(self._terminal_info()),
            "version": lambda: wrapped((500, startup.build, BUILD_DATE)),
            "symbol_select": lambda *args: wrapped(self._symbol_select(*args)),
            "order_send": self._order_send,
        }
        self.link = BrokerLink(
            lambda server: server_address(folder, server), journal, self._logged_in, self._press_algo_trading
        )

    def _press_algo_trading(self, on: bool) -> None:
        self._algo_trading = on and self._startup.trade_allowed

    def _logged_in(self, symbols: tuple[str, ...], board: Any) -> None:
        with self._watching:
            self._watch.offer(symbols)
        self._kept.clear()
        self._board = None if board is None else board_reader(BoardKey(*board))

    def handle(self, books: list[str], verb: str, arguments: Any) -> Any:
        """Answer one request of a program; `books` are its depth-of-market subscriptions. Raises RemoteError."""
        match verb, arguments:
            case "initialize", (int(login), password, server, int(timeout)):
                return self._initialize(login, password, server, timeout)
            case "login", (int(login), password, server, int(timeout)):
                return self._log_in(login, password, server, timeout)
            case "place", ():
                return str(self._folder)
            case "call", (str(function), args, kwargs):
                return self._call(books, function, args, kwargs)
        raise RemoteError(-7, "Terminal: Unsupported function")

    def _initialize(self, login: int, password: str | None, server: str | None, timeout: int) -> Any:
        current = self.link.credentials
        if login and (
            current is None or password is not None or (current.login, server or current.server) != _who(current)
        ):
            return self._log_in(login, password, server, timeout)
        return self._decided(timeout)

    def _log_in(self, login: int, password: str | None, server: str | None, timeout: int) -> Any:
        """Switch to an account; what is not given stays as saved (rule B12)."""
        current = self.link.credentials
        if current is None:
            current = Credentials(0, "", "")
        if login != current.login:
            self._kept.clear()  # B13
        saved = current.password if login == current.login else ""
        self.link.log_in(
            Credentials(login, saved if password is None else password, current.server if server is None else server)
        )
        return self._decided(timeout)

    def _decided(self, timeout: int) -> bool:
        state = self.link.wait(timeout / 1000)
        if state is LoginState.REFUSED:
            raise RemoteError(*self.link.refusal)  # B9, B10
        if state is LoginState.CONNECTING:
            raise RemoteError(*TIMED_OUT)
        return True

    def _call(self, books: list[str], function: str, args: Any, kwargs: Any) -> Any:
        if function in _BOOK_FUNCTIONS:
            return self._market_book(books, function, codec.decode(args)[0], (args, kwargs))
        here = self._here.get(function)
        if here is not None:
            return here(*codec.decode(args))
        if function in _NEEDS_BUILD and self._startup.build < _NEEDS_BUILD[function]:
            raise RemoteError(*INCOMPATIBLE)  # B18
        if function == "order_check" and not self._algo_trading:
            return wrapped(Request.of(codec.decode(args)[0]).refused_check(Retcode.CLIENT_DISABLES_AT))
        if function == "order_check":
            request = Request.of(codec.decode(args)[0])
            if self._is_unselected(request):
                return wrapped(request.refused_check(Retcode(self._conventions.unselected_trade)))
        value = self._forward(function, args, kwargs)
        if function.startswith("copy_rates_") and self._conventions.fresh_history != "ready":
            return self._while_loading(codec.decode(args)[0], value)
        return value

    def _while_loading(self, name: str, value: Any) -> Any:
        """Bars as they are had while the history of a symbol loads: all of them from the second call on (rule E7)."""
        if name in self._loaded:
            return value
        self._loaded.add(name)
        if self._conventions.fresh_history == "missing":
            raise RemoteError(*CALL_FAILED)
        bars = unwrapped(value)
        return wrapped(bars[len(bars) // 2 :])

    def _forward(self, function: str, args: Any, kwargs: Any) -> Any:
        key = (function, args, kwargs)
        selected = self._selected() if function.startswith("symbol") else ()
        if function == "symbol_info_tick":
            tick = self._read_tick(codec.decode(args)[0], selected)
            if tick is not None:
                self._kept[key] = tick
                return tick
        begun = time.perf_counter()
        try:
            value = self.link.request("call", function, args, kwargs, selected, timeout=_CALL_SECONDS)
        except LinkError as error:
            return self._without_broker(key, error)
        value = self._endured(value)
        self._ping = int((time.perf_counter() - begun) * 1e6)
        if function in _KEPT:
            if len(self._kept) >= _KEPT_ANSWERS:
                self._kept.clear()
            self._kept[key] = value
        return value

    def _read_tick(self, name: str, selected: tuple[str, ...]) -> Any:
        """What the broker would answer now, if its board tells."""
        board = self._board
        if board is None or name not in selected or self.link.state is not LoginState.AUTHORISED:
            return None
        tick = board.tick(name)
        return None if tick is None else wrapped(tick)

    def _without_broker(self, key: Message, error: LinkError) -> Any:
        """The last answer, as long as the account may still come back (rules B17, B19, H4)."""
        function = key[0]
        if key in self._kept and self.link.state is not LoginState.REFUSED:
            kept = self._kept[key]
            return _may_not_trade(kept) if function == "account_info" else kept
        if function == "account_info" and self._conventions.no_account == "blank":
            return wrapped(AccountInfo(kind() for _, kind in STRUCTS["AccountInfo"]))
        raise RemoteError(*CALL_FAILED) from error

    def _endured(self, value: Any) -> Any:
        """The answer behind faults that concern the terminal: it hangs, or its answer never reaches the program."""
        while type(value) is tuple and value and value[0] == FAULT_TAG:
            _, kind, seconds, value = value
            if kind == FaultKind.WEDGED:
                self._stopping.wait(seconds)
            if kind == FaultKind.LOST_ANSWER:
                raise AnswerLostError
        return value

    def stop(self) -> None:
        """Let nothing hang any longer."""
        self._stopping.set()

    def _selected(self) -> tuple[str, ...]:
        with self._watching:
            return self._watch.selected

    def _terminal_info(self) -> Any:
        connected = self.link.state is LoginState.AUTHORISED
        flags = (connected, False, self._algo_trading, self._startup.tradeapi_disabled)
        place = str(self._folder)
        return TerminalInfo(
            (
                *(False, False, *flags, False, False, False, False),
                *(self._startup.build, MAX_BARS, 1252, self._ping, 0.0, 0.0),
                *("MT5 Farm", "Simulated terminal", "English", place, place, place),
            )
        )

    def _symbol_select(self, name: str, enable: bool = True) -> bool:
        with self._watching:
            known = self._watch.knows(name)
            selected = name in self._watch.selected
        if not known:
            raise RemoteError(*CALL_FAILED)  # D7
        if not enable and not selected:
            return self._conventions.unselect_unselected  # D8
        if not enable and name == self._startup.chart:
            raise RemoteError(*CALL_FAILED)  # D8
        held = codec.encode(()), codec.encode({"symbol": name})
        if not enable and unwrapped(self._forward("positions_get", *held)):
            raise RemoteError(*CALL_FAILED)  # D8
        with self._watching:
            self._watch.set(name, enable=enable)
        return True

    def _market_book(self, books: list[str], function: str, name: str, call: tuple[Any, Any]) -> Any:
        if function == "market_book_get":
            if name not in books:
                raise RemoteError(*self._conventions.book_not_added_error)  # G1
            return self._forward(function, *call)
        if function == "market_book_release":
            if name not in books:
                return wrapped(False)  # G4
            books.remove(name)
            return wrapped(True)
        if name not in self._selected():
            return wrapped(False)  # D9
        info = unwrapped(self._forward("symbol_info", codec.encode((name,)), codec.encode({})))
        if not info.ticks_bookdepth:
            return wrapped(False)  # G3
        books.append(name)
        return wrapped(True)

    def _order_send(self, fields: dict[str, Any]) -> Any:
        """Send a request once; gives its result as it goes to the program.

        If the link breaks on the way, the broker is asked what became of it, not told again.
        """
        if self._startup.tradeapi_disabled and not self._conventions.python_disabled_retcode:
            raise RemoteError(*API_DISABLED)  # I5
        request = Request.of(fields)
        if not self._algo_trading or self._startup.tradeapi_disabled:
            return _refusal(Retcode.CLIENT_DISABLES_AT, request)
        with self._sending:
            if self.link.state is not LoginState.AUTHORISED:
                return _refusal(Retcode.CONNECTION, request)
            if self._is_unselected(request):
                return _refusal(Retcode(self._conventions.unselected_trade), request)
            sequence = next(self._sequence)
            try:
                answer = self.link.request(
                    "send", sequence, self._request_id, codec.encode(fields), timeout=_SEND_SECONDS
                )
            except LinkError:
                return self._settle(sequence, request)
            number, result = self._endured(answer)
            if number == self._request_id:
                self._request_id += 1
        return result

    def _is_unselected(self, request: Request) -> bool:
        """Whether the request opens or places on a known symbol that is not selected, not as a cross either (D9)."""
        name = request.symbol
        with self._watching:
            seen = name in self._watch.selected or not self._watch.knows(name)
        if seen or request.action not in (Action.DEAL, Action.PENDING):
            return False
        return not unwrapped(self._forward("symbol_info", codec.encode((name,)), codec.encode({}))).select

    def _settle(self, sequence: int, request: Request) -> Any:
        """The outcome of a request whose answer was lost.

        After a new login the broker takes nothing more from the old link, so a request that it does not know then will
        never be executed: 10031. While the broker stays away the outcome is open: 10012.
        """
        if self.link.wait(_SETTLE_SECONDS) is LoginState.AUTHORISED:
            try:
                answer = self.link.request("outcome", sequence, timeout=_SEND_SECONDS)
            except LinkError:
                return _refusal(Retcode.TIMEOUT, request)
            return _refusal(Retcode.CONNECTION, request) if answer is None else answer[1]
        return _refusal(Retcode.TIMEOUT, request)


def _who(credentials: Credentials) -> tuple[int, str]:
    return credentials.login, credentials.server


def _may_not_trade(kept: Any) -> Any:
    """An account as it was last seen, without leave to trade."""
    fields = unwrapped(kept)._asdict() | {"trade_allowed": False}
    return wrapped(AccountInfo(fields.values()))


def _refusal(code: Retcode, request: Request) -> Any:
    """A refusal that never reached the server: all numbers are 0 (rule K5)."""
    return wrapped(OrderSendResult((int(code), 0, 0, 0.0, 0.0, 0.0, 0.0, code.comment, 0, 0, request.struct())))


def _on_stop_signal() -> socket.socket:
    """A socket that gets a byte when SIGTERM or SIGINT comes.

    A lock would not do: the signal may reach any thread, and one that waits for a lock is then not woken.
    """
    near, far = socket.socketpair()
    far.setblocking(False)
    signal.set_wakeup_fd(far.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    return near


def main(argv: Sequence[str] | None = None) -> int:
    """Run the terminal until SIGTERM or SIGINT; returns the exit code."""
    parser = Parser(prog="terminal", description="A simulated MetaTrader 5 terminal.")
    parser.add_argument("--folder", type=Path, required=True, help="portable folder of the terminal")
    parser.add_argument("--ipc", required=True, help="address for programs: unix:/path or HOST:PORT")
    arguments = parser.parse_args(argv)
    stop_asked = _on_stop_signal()
    try:
        folder = arguments.folder.resolve()
        (folder / "config").mkdir(parents=True, exist_ok=True)
        startup = read_startup(folder)
        journal = Journal(folder)
        conventions = Conventions.read(folder / "config" / "conventions.json")
        terminal = Terminal(folder, startup, journal, conventions)
        server = IpcServer(arguments.ipc, terminal.handle)
        announce(folder, arguments.ipc)
    except (FolderError, IpcError, ConventionsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"The folder {arguments.folder} cannot be used: {error.strerror}.\n")
        return 2
    journal.write("Terminal", f"MT5 Farm simulated terminal build {BUILD} started")
    terminal.link.start(startup.credentials)
    server.start()
    collect_rarely()
    stop_asked.recv(1)
    terminal.stop()
    server.stop()
    terminal.link.stop()
    journal.write("Terminal", "exit with code 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
