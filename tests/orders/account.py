"""One account of the order test: its terminal and worker as processes, and the faulty links between everything."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from mt5_bridge.client import BridgeError, BridgeLost, MetaTrader5
from tests.orders.door import GatewayDoor
from tests.orders.faults import (
    CutError,
    Fault,
    FaultPlan,
    LateError,
    Proxy,
    is_order,
    is_order_answer,
    is_order_frame,
    message,
)

PASSWORD: Final = "farm-Secret-1"
SERVER: Final = "MT5Farm-Demo"
TOKEN: Final = "local-secret-0123456789"
SLOW_SECONDS: Final = 7.0
"""Longer than a worker waits before it calls an order not executed, shorter than a terminal waits for its broker."""


class AccountLine:
    """client, gateway, worker, terminal, broker, each behind a proxy of the one before; what dies is started again."""

    def __init__(self, folder: Path, login: int, broker: str, plan: FaultPlan) -> None:
        self.folder = folder
        self.login = login
        self.plan = plan
        self._broker = broker
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.slowed = threading.Event()
        self._door = GatewayDoor(folder, f"ter_{login:016}", folder / "c", folder / "token")
        self._proxies = self._open_proxies()
        self._write_files()
        for role in ("terminal", "worker", "gateway"):
            self._start(role)
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def client(self) -> MetaTrader5:
        """A client behind the faulty link, with a fresh ticket. Raises BridgeError, BridgeLost."""
        return self._door.client(self._tls_proxy)

    def connected(self) -> bool:
        """Whether everything up to the broker is connected."""
        try:
            with self.client() as api:
                return bool(api.describe()["connected"])
        except (BridgeError, BridgeLost):
            return False

    def close(self) -> None:
        """End the processes."""
        self._closing.set()
        self._keeper.join(10)
        for child in self._children.values():
            child.kill()
            child.wait(10)
        for proxy in self._proxies:
            proxy.close()

    def _path(self, name: str) -> str:
        return f"unix:{self.folder}/{name}"

    def _open_proxies(self) -> tuple[Proxy, ...]:
        tcp, tls = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        self._broker_proxy, self._tls_proxy = (f"127.0.0.1:{one.getsockname()[1]}" for one in (tcp, tls))
        return (
            Proxy(tls, self._door.address, lambda: TlsEyes(self).pair, framed=False),
            Proxy(self._listen("c"), lambda: self._path("w"), lambda: ClientEyes(self).pair, framed=False),
            Proxy(self._listen("i"), lambda: self._path("t"), lambda: WorkerEyes(self).pair, framed=True),
            Proxy(tcp, lambda: self._broker, lambda: (self._terminal_asks, self._terminal_is_told), framed=True),
        )

    def _listen(self, name: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder / name))
        listener.listen(64)
        return listener

    def _write_files(self) -> None:
        config = self.folder / "mt5" / "config"
        config.mkdir(parents=True)
        account = f"Login={self.login}\nPassword={PASSWORD}\nServer={SERVER}\n"
        startup = config / "startup.ini"
        startup.touch(0o600)
        startup.write_text(f"[Common]\n{account}[Experts]\nAllowLiveTrading=1\nEnabled=1\n")
        (config / "servers.json").write_text(json.dumps({SERVER: self._broker_proxy}))
        (self.folder / "token").write_text(TOKEN)
        worker = {
            "terminal_id": f"ter_{self.login:016}",
            "epoch": 1,
            "listen": self._path("w"),
            "backend": "simulated",
            "backend_options": {"ipc": self._path("i")},
            "login": self.login,
            "server": SERVER,
            "journal": str(self.folder / "journal"),
            "token_file": str(self.folder / "token"),
            "guard": {},
            "log_file": str(self.folder / "worker.log"),
        }
        (self.folder / "worker.json").write_text(json.dumps(worker))

    def _start(self, role: str) -> None:
        commands = {
            "terminal": [
                "mt5_bridge.simulated.terminal",
                "--folder",
                str(self.folder / "mt5"),
                "--ipc",
                self._path("t"),
            ],
            "worker": ["mt5_bridge.worker", "--config", str(self.folder / "worker.json")],
            "gateway": ["node_agent.gateway", "--config", str(self._door.config)],
        }
        # The gateway's log is on stdout and has a line for each refused hello of a broken link.
        output = subprocess.DEVNULL if role == "gateway" else None
        self._children[role] = subprocess.Popen(
            [sys.executable, "-m", *commands[role]], stdin=subprocess.DEVNULL, stdout=output
        )

    def kill(self, role: str) -> None:
        """End a process with no chance to tidy up."""
        with self._lock:
            self._children[role].kill()
            self._children[role].wait(10)

    def kill_soon(self, role: str) -> None:
        """End a process while what it was just told is on its way."""
        threading.Timer(0.0005, self.kill, (role,)).start()

    def _keep(self) -> None:
        """Start again what has died, as the node's agent does."""
        while not self._closing.wait(0.02):
            with self._lock:
                for role, child in list(self._children.items()):
                    if child.poll() is not None:
                        self._start(role)

    def _terminal_asks(self, frame: bytes) -> bytes:
        if is_order(message(frame)):
            if self.slowed.is_set():
                self.slowed.clear()
                raise LateError(frame, SLOW_SECONDS)
            if self.plan.draw(Fault.BROKER_REQUEST_LOST):
                raise CutError
        return frame

    def _terminal_is_told(self, frame: bytes) -> bytes:
        if is_order_answer(message(frame)) and self.plan.draw(Fault.BROKER_ANSWER_LOST):
            raise CutError
        return frame


class TlsEyes:
    """Between client and gateway. All is encrypted, so faults meet whatever goes through once a session is open."""

    def __init__(self, line: AccountLine) -> None:
        self._line = line
        self.pair = (self._request, self._answer)

    def _request(self, data: bytes) -> bytes:
        match self._line.plan.draw(Fault.TLS_REQUEST_CUT, Fault.GATEWAY_KILLED):
            case Fault.TLS_REQUEST_CUT:
                raise CutError(data[: self._line.plan.part(len(data))])
            case Fault.GATEWAY_KILLED:
                self._line.kill_soon("gateway")
        return data

    def _answer(self, data: bytes) -> bytes:
        if self._line.plan.draw(Fault.TLS_ANSWER_CUT):
            raise CutError(data[: self._line.plan.part(len(data))])
        return data


class ClientEyes:
    """Between gateway and worker. Chunks, which begin with a frame whenever a client waits for each answer."""

    def __init__(self, line: AccountLine) -> None:
        self._line = line
        self._ordered = False
        self.pair = (self._request, self._answer)

    def _request(self, data: bytes) -> bytes:
        self._ordered = is_order_frame(data)
        if self._ordered and self._line.plan.draw(Fault.CLIENT_REQUEST_CUT):
            raise CutError(data[: self._line.plan.part(len(data))])
        return data

    def _answer(self, data: bytes) -> bytes:
        if not self._ordered:
            return data
        self._ordered = False
        faults = (Fault.CLIENT_ANSWER_CUT, Fault.CLIENT_ANSWER_LOST, Fault.KILLED_BEFORE_CLIENT_ANSWER)
        match self._line.plan.draw(*faults):
            case Fault.CLIENT_ANSWER_CUT:
                raise CutError(data[: self._line.plan.part(len(data))])
            case Fault.CLIENT_ANSWER_LOST:
                raise CutError
            case Fault.KILLED_BEFORE_CLIENT_ANSWER:
                self._line.kill("worker")
                raise CutError
        return data


class WorkerEyes:
    """Between worker and terminal. Whole frames, so it is known what the worker is about to do."""

    def __init__(self, line: AccountLine) -> None:
        self._line = line
        self._plan = line.plan
        self._before = ""
        self.pair = (self._request, self._answer)

    def _request(self, frame: bytes) -> bytes:
        said = message(frame)
        function = said[2][0] if said[1] == "call" else said[1]
        # The worker asks for the account before each order; housekeeping asks for the terminal first.
        checking = function == "account_info" and self._before != "terminal_info"
        self._before = function
        if checking and self._plan.draw(Fault.KILLED_JOURNALED):
            self._line.kill("worker")
            raise CutError
        return self._order(frame) if is_order(said) else frame

    def _order(self, frame: bytes) -> bytes:
        faults = (
            Fault.KILLED_BEFORE_SEND,
            Fault.KILLED_AFTER_SEND,
            Fault.TERMINAL_REQUEST_LOST,
            Fault.TERMINAL_REQUEST_CUT,
            Fault.TERMINAL_KILLED,
            Fault.BROKER_SLOW,
        )
        match self._plan.draw(*faults):
            case Fault.KILLED_BEFORE_SEND:
                self._line.kill("worker")
                raise CutError
            case Fault.KILLED_AFTER_SEND:
                self._line.kill_soon("worker")
            case Fault.TERMINAL_REQUEST_LOST:
                raise CutError
            case Fault.TERMINAL_REQUEST_CUT:
                raise CutError(frame[: self._plan.part(len(frame))])
            case Fault.TERMINAL_KILLED:
                self._line.kill_soon("terminal")
            case Fault.BROKER_SLOW:
                self._line.slowed.set()
                raise CutError(frame)
        return frame

    def _answer(self, frame: bytes) -> bytes:
        if not is_order_answer(message(frame)):
            return frame
        faults = (Fault.KILLED_AFTER_FILL, Fault.TERMINAL_ANSWER_LOST, Fault.TERMINAL_ANSWER_CUT)
        match self._plan.draw(*faults):
            case Fault.KILLED_AFTER_FILL:
                self._line.kill("worker")
                raise CutError
            case Fault.TERMINAL_ANSWER_LOST:
                raise CutError
            case Fault.TERMINAL_ANSWER_CUT:
                raise CutError(frame[: self._plan.part(len(frame))])
        return frame


def close_quietly(api: MetaTrader5 | None) -> None:
    """Close a client that may be dead already."""
    if api is not None:
        with contextlib.suppress(OSError):
            api.close()
