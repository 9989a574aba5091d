"""Process entry: `python -m node_agent.gateway --config FILE`.

Exit codes: 0 asked to end, 2 bad configuration, 4 the address cannot be listened on. stderr says why in one sentence.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import ssl
import sys
import threading
import time
from pathlib import Path

import structlog
from pydantic import ValidationError

from mt5_bridge.garbage import collect_rarely
from node_agent.clock import system_clock
from node_agent.files import write_atomically
from node_agent.gateway.admission import Admission
from node_agent.gateway.configuration import (
    EXIT_PORT,
    EXIT_USAGE,
    NO_ROUTES,
    GatewayConfig,
    Ready,
    Route,
    Routes,
)
from node_agent.gateway.figures import EVERY_SECONDS, FiguresFile
from node_agent.gateway.redeemed import RedeemedTickets
from node_agent.gateway.server import GatewayServer
from node_agent.logs import configure_logs

_log = structlog.get_logger(__name__)
_TURN_SECONDS = 0.0005


class RoutesReader:
    """Reads the routes file again when the agent has replaced it; a broken one leaves the old routes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._routes = NO_ROUTES
        self._reading = threading.Lock()

    def current(self) -> Routes:
        with self._reading:
            return self._read()

    def _read(self) -> Routes:
        try:
            status = self._path.stat()
            stamp = (status.st_ino, status.st_mtime_ns)
            if stamp != self._stamp:
                self._routes = Routes.parse(self._path.read_bytes())
                self._stamp = stamp
        except (OSError, ValueError) as error:
            _log.warning("routes_unreadable", error=str(error))
        return self._routes


def read_token(route: Route) -> str:
    return route.token_file.read_text().strip()


def serve(config: GatewayConfig) -> None:
    """Until SIGTERM or SIGINT. Raises OSError when it cannot listen."""
    # A thread that carries a large answer must not keep the interpreter from the others for Python's usual 5 ms.
    sys.setswitchinterval(_TURN_SECONDS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    routes = RoutesReader(config.routes)
    redeemed = RedeemedTickets(config.redeemed)
    server = GatewayServer(config, Admission(config, routes.current, redeemed, system_clock), read_token)
    try:
        address = server.listen()
        write_atomically(config.ready, Ready(pid=os.getpid(), address=address).model_dump_json().encode())
        _log.info("gateway_listening", address=address)
        shown = _stamp(config.certificate)
        collect_rarely()
        figures, told_at = FiguresFile(config.figures), -EVERY_SECONDS
        while not stop.wait(config.reload_interval):
            if time.monotonic() - told_at >= EVERY_SECONDS:
                told_at = time.monotonic()
                figures.write(server.figures())
            server.end_stale_sessions(routes.current())
            shown = _show_new_certificate(server, config.certificate, shown)
    finally:
        server.close()
        redeemed.close()


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _show_new_certificate(server: GatewayServer, path: Path, shown: tuple[int, int]) -> tuple[int, int]:
    """Sessions that are open keep the one they have seen."""
    try:
        stamp = _stamp(path)
        if stamp != shown:
            server.load_certificate()
            _log.info("certificate_renewed")
    except OSError as error:
        _log.error("certificate_unusable", error=str(error))
        return shown
    return stamp


def main() -> int:
    parser = argparse.ArgumentParser(prog="node_agent.gateway", description="The gateway of one node.")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    configure_logs(sys.stdout)
    try:
        config = GatewayConfig.model_validate_json(arguments.config.read_bytes())
    except (OSError, ValidationError) as error:
        return _fail(f"the configuration {arguments.config} cannot be used: {type(error).__name__}", EXIT_USAGE)
    try:
        serve(config)
    except (ssl.SSLError, sqlite3.Error, ValueError) as error:
        return _fail(f"the gateway's certificate, key or ticket file cannot be used: {error}", EXIT_USAGE)
    except OSError as error:
        return _fail(f"the gateway cannot listen on {config.listen}: {error.strerror or error}", EXIT_PORT)
    return 0


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
