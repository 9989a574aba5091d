"""Real servers of Redis and S3 for the tests that need them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, redis_executable


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(redis_executable(), tmp_path)
    server.start()
    yield server
    server.stop()


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
