"""The bridge worker: the process that serves one terminal. `python -m mt5_bridge.worker --config FILE`."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import os
import secrets
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from mt5_bridge import auth
from mt5_bridge.backends import Backend, open_backend
from mt5_bridge.contract import FUNCTIONS
from mt5_bridge.executor import WEDGED_EXIT_CODE, Executor
from mt5_bridge.garbage import collect_rarely
from mt5_bridge.guard_memory import GuardRecord
from mt5_bridge.guard_watch import FLAT_SECONDS, GuardWatch
from mt5_bridge.journal import Journal
from mt5_bridge.lease import LeaseGuard
from mt5_bridge.pulse import Pulse
from mt5_bridge.service import BridgeService, Session, SessionHandler, Terminal
from mt5_bridge.sessions import SessionLoop
from mt5_bridge.terminal_link import Account, TerminalLink
from mt5_bridge.tick_stream import TickBoard
from mt5_bridge.trading import Mandate, TradeDesk
from mt5_bridge.worker_config import ConfigError, WorkerConfig, load_worker_config, read_token

log = logging.getLogger(__name__)

MAX_SESSIONS: Final = 64
CHECK_SECONDS: Final = 1.0
RECONNECT_SECONDS: Final = 0.3
STOP_SECONDS: Final = 5.0
_LOG_BYTES: Final = 2_000_000


class Worker:
    """One terminal's server: accepts sessions, keeps the link, settles what is unknown."""

    def __init__(self, config: WorkerConfig, token: str, backend: Backend) -> None:
        self._config = config
        self._token = token
        self._stopping = threading.Event()
        self._waking, self._wake = socket.socketpair()
        self._greeting = 0
        self._counting = threading.Lock()
        self._loop = SessionLoop()
        account = Account(config.login, config.server)
        journal = Journal(config.journal, time.time)
        self._backend = backend
        executor = Executor(on_wedged=_die_wedged, loop=self._loop)
        link = TerminalLink(self._backend, executor, account, time.monotonic)
        over = _never if config.lease_file is None else LeaseGuard(config.lease_file).over
        record = GuardRecord(config.journal.with_name("guard.json"), journal, config.guard_memory)
        mandate = Mandate(config.epoch, config.guard)
        desk = TradeDesk(journal, executor, link, account, mandate, time.time, over, record)
        self._guard = GuardWatch(desk, link, executor, account, journal)
        board = TickBoard(partial(_ask_for_ticks, executor, link), self._loop)
        self._terminal = Terminal(
            config.terminal_id,
            config.backend,
            account,
            executor,
            link,
            desk,
            journal,
            board,
            time.monotonic(),
            Pulse(),
            self._guard,
        )

    def stop(self) -> None:
        """Ask the worker to end. Safe to call from a signal handler."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._wake.send(b"\0")

    def run(self) -> None:
        """Serve until stopped. Raises OSError when the address cannot be used."""
        listener = self._config.listen.listen()
        self._terminal.desk.forget_unsent()
        self._terminal.executor.start()
        housekeeping = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        housekeeping.start()
        threading.Thread(target=self._keep_guard, name="guard", daemon=True).start()
        log.info("serving %s at epoch %d", self._config.terminal_id, self._config.epoch)
        try:
            self._accept(listener)
        finally:
            listener.close()
            if self._config.listen.path is not None:
                self._config.listen.path.unlink(missing_ok=True)
            self._close()
        log.info("stopped")

    def _accept(self, listener: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(self._waking, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                if not self._stopping.is_set():
                    self._open_session(listener)

    def _open_session(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            log.exception("cannot accept a connection")
            self._stopping.wait(0.2)  # out of file descriptors, most likely: let some close
            return
        if self._greeting + len(self._loop) >= MAX_SESSIONS:
            _refuse(sock, auth.HelloError("busy", "too many sessions are open on this terminal"))
            return
        with self._counting:
            self._greeting += 1
        threading.Thread(target=self._welcome, args=(sock,), name="greeting", daemon=True).start()

    def _welcome(self, sock: socket.socket) -> None:
        """Greet a connection and hand it to the loop; the greeting may take its time, so it has a thread."""
        try:
            session = self._greet(sock)
            log.info("session %s opened by %s, scope %s", session.session_id, session.principal, session.scope)
            service = BridgeService(self._terminal, session)
            self._loop.add(sock, SessionHandler(service, partial(log.info, "session %s closed", session.session_id)))
        except auth.HelloError as error:
            log.warning("refused a connection: %s", error.code)
            _refuse(sock, error)
        except (OSError, ValueError):  # ValueError: the loop has been closed meanwhile
            log.info("a connection broke during its greeting")
            sock.close()
        finally:
            with self._counting:
                self._greeting -= 1

    def _greet(self, sock: socket.socket) -> Session:
        hello = auth.parse_hello(auth.read_line(sock))
        auth.check_hello(hello, self._token, self._terminal.desk.mandate.epoch)
        session = Session(f"ses_{secrets.token_hex(8)}", hello.scope, hello.epoch, hello.principal)
        auth.send_line(
            sock,
            {
                "ok": True,
                "terminal": self._terminal.terminal_id,
                "scope": session.scope.value,
                "session": session.session_id,
            },
        )
        return session

    def _keep_house(self) -> None:
        terminal = self._terminal
        while not self._stopping.is_set():
            try:
                terminal.link.check()
                if terminal.journal.unsettled():
                    terminal.executor.run("settle", 60.0, terminal.desk.settle_open)
            except Exception:
                log.exception("housekeeping failed; it is tried again")
            if terminal.link.linked:
                terminal.link.needs_check.wait(CHECK_SECONDS)
            else:
                self._stopping.wait(RECONNECT_SECONDS)

    def _keep_guard(self) -> None:
        configured = self._terminal.desk.configured
        while not self._stopping.is_set():
            configured.clear()
            try:
                pause = self._guard.run()
            except Exception:
                log.exception("the guard could not look; it tries again")
                pause = FLAT_SECONDS
            configured.wait(pause)

    def _close(self) -> None:
        self._terminal.desk.configured.set()  # ends the wait of the guard
        if self._terminal.executor.stop(STOP_SECONDS):
            self._backend.close()
        else:
            log.warning("a call did not end in time; leaving it behind")
        self._loop.close()
        self._waking.close()
        self._wake.close()
        self._terminal.journal.close()


def _never() -> bool:
    return False


def _ask_for_ticks(executor: Executor, link: TerminalLink, function: str, args: tuple[Any, ...]) -> Any:
    """What the terminal says, None while it is not there. On its thread."""
    if not link.linked:
        return None
    return executor.run_here(function, FUNCTIONS[function].deadline, link.call, function, args)


def _refuse(sock: socket.socket, error: auth.HelloError) -> None:
    try:
        auth.send_line(sock, {"ok": False, "code": error.code, "message": error.message}, timeout=1.0)
    except OSError:
        log.debug("the peer left before its refusal")
    finally:
        sock.close()


def _die_wedged(label: str) -> NoReturn:
    # The thread that hangs cannot be ended, so the process must be; its supervisor starts another one, and the
    # journal settles an order that was on its way.
    log.critical("giving up: %s is wedged", label)
    logging.shutdown()
    os._exit(WEDGED_EXIT_CODE)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=_LOG_BYTES, backupCount=2, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit code 0 after SIGTERM, 2 for a configuration that cannot work, 70 for a wedged terminal."""
    parser = argparse.ArgumentParser(prog="mt5farm-bridge worker", description="Serve one terminal over RPyC.")
    parser.add_argument("--config", required=True, type=Path, help="JSON file, readable by this user alone")
    options = parser.parse_args(arguments)
    try:
        config = load_worker_config(options.config)
        token = read_token(config.token_file)
        _log_to(config.log_file)
        worker = Worker(config, token, open_backend(config.backend, config.backend_options))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        collect_rarely()
        worker.run()
    except (ConfigError, ValueError, ImportError, OSError) as error:
        sys.stderr.write(f"mt5farm-bridge worker: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
