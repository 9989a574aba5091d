"""Real servers of Redis and S3 for the tests that need them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, redis_executable


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may stop and start."""
    server = RedisServer(redis_executable(), tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket_url(bucket_server: str, tmp_path: Path) -> tuple[str, str]:
    """An empty folder of a bucket at a stand-in for S3: its address and that of the server."""
    return f"s3://farm/{tmp_path.name}", bucket_server
