"""Runs the applications in one process until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog
import uvicorn
from anyio import to_thread
from fastapi import FastAPI

from control_plane.app import create_agent_app, create_app, create_operations_app
from control_plane.container import Farm
from control_plane.errors import ConfigurationError
from mt5_bridge.garbage import collect_rarely

_GRACE_SECONDS = 3
_KEEP_ALIVE_SECONDS = 75
"""Longer than a node lets pass between two reports, so that it need not agree on new TLS keys for each."""
_THREADS = 100
_TURN_SECONDS = 0.001
"""For how long a thread computes while others wait. An order gives way at each statement and each question to its
terminal; with Python's own 5 ms, one bundle of events would make it wait so long each time.
"""
_MOST_SAID = 64 * 1024
"""Bytes in one message of a browser."""
_log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """Leaves signals to `serve`, which has several servers to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


_Servers = dict[str, tuple[_Server, socket.socket]]
"""By the name that the log gives them."""


def serve(farm: Farm) -> None:
    """Blocks until SIGTERM or SIGINT. Raises ConfigurationError when a port is taken."""
    settings = farm.settings
    with ExitStack() as sockets:
        portal = sockets.enter_context(_listen(settings.host, settings.port, "portal"))
        agents = sockets.enter_context(
            _listen(settings.agent_bind or settings.agent_host, settings.agent_port, "agent API")
        )
        servers: _Servers = {
            "portal": (
                _Server(_config(create_app(farm), trusted_proxies=settings.trusted_proxies, websockets=True)),
                portal,
            ),
            "agent_api": (_Server(_config(create_agent_app(farm), _agent_certificate(farm))), agents),
        }
        _run_with_operations(farm, servers, sockets, loops=settings.loops)


def reconcile(farm: Farm) -> None:
    """The background loops alone, until SIGTERM or SIGINT. Raises ConfigurationError when a port is taken."""
    with ExitStack() as sockets:
        _run_with_operations(farm, {}, sockets, loops=True)


def _run_with_operations(farm: Farm, servers: _Servers, sockets: ExitStack, *, loops: bool) -> None:
    settings = farm.settings
    if settings.operations_port is not None:
        listening = _listen(settings.operations_host, settings.operations_port, "operations port")
        servers["operations"] = _Server(_config(create_operations_app(farm))), sockets.enter_context(listening)
    if loops:
        farm.start()
    collect_rarely()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        # The server's own choice of a loop, which it makes only where it is started alone.
        with asyncio.Runner(loop_factory=uvicorn.Config("", log_config=None).get_loop_factory()) as runner:
            runner.run(_run(farm, servers))
    finally:
        farm.stop()


async def _run(farm: Farm, servers: _Servers) -> None:
    loop = asyncio.get_running_loop()
    # Questions to slow terminals each hold a thread. The agent API has threads of its own beside these.
    to_thread.current_default_thread_limiter().total_tokens = _THREADS
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        # Open streams and long polls end by themselves once the bus is closed; nodes report again later.
        farm.bus.close()
        farm.reports.close()
        for server, _ in servers.values():
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    _log.info("ready", **{name: _address(sock) for name, (_, sock) in servers.items()})
    await asyncio.gather(stopping.wait(), *(server.serve(sockets=[sock]) for server, sock in servers.values()))
    _log.info("stopped")


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"{host}:{port}"


def _config(
    app: FastAPI,
    certificate: tuple[Path, Path] | None = None,
    trusted_proxies: str | None = None,
    *,
    websockets: bool = False,
) -> uvicorn.Config:
    key, chain = certificate or (None, None)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=trusted_proxies is not None,
        forwarded_allow_ips=trusted_proxies or "",
        ws="auto" if websockets else "none",
        # Browsers say little, and what they are shown is compressed already.
        ws_max_size=_MOST_SAID,
        ws_max_queue=4,
        ws_per_message_deflate=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_keyfile=key,
        ssl_certfile=chain,
    )
    config.load()
    if isinstance(config.ssl, ssl.SSLContext):
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def _agent_certificate(farm: Farm) -> tuple[Path, Path]:
    """A new certificate at each start; nodes trust the authority, not this one certificate."""
    names = [farm.settings.agent_host, "localhost", "127.0.0.1", "::1"]
    key, certificate = farm.authority.issue_with_key(names)
    folder = farm.settings.data / "keys"
    paths = folder / "agent-api.key", folder / "agent-api.pem"
    for path, content in zip(paths, (key, certificate), strict=True):
        draft = path.with_suffix(f"{path.suffix}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(content)
        draft.replace(path)
    return paths


def _listen(host: str, port: int, purpose: str) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigurationError(f"the {purpose} cannot listen on {host}: {error.strerror}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(256)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            message = f"port {port} on {host} is taken; stop the other program or choose another port for the {purpose}"
        else:
            message = f"the {purpose} cannot listen on {host}:{port}: {error.strerror}"
        raise ConfigurationError(message) from error
    return sock
