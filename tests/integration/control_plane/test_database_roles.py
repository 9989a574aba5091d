"""`mt5farm make-database`: a database that keeps tenants apart, from nothing but an administrator's address."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import make_url

from control_plane.config import Settings
from control_plane.db.roles import make_database
from control_plane.errors import ConfigurationError
from control_plane.resources import open_database
from tests.postgres import Server

PASSWORD = "9f2c51d07ab84e6d3f10c2aa"


def address(server: Server, role: str, database: str) -> str:
    return make_url(server.url(role, database)).set(password=PASSWORD).render_as_string(hide_password=False)


def test_it_makes_what_a_farm_needs_and_may_be_run_again(postgres_server: Server, tmp_path: Path) -> None:
    owner, application = (address(postgres_server, role, "fresh") for role in ("fresh_owner", "fresh_app"))
    for _ in range(2):
        make_database(postgres_server.superuser, owner, application)
    open_database(Settings(data=tmp_path, database_url=application, database_owner_url=owner)).close()
    open_database(Settings(data=tmp_path, database_url=application)).close()
    postgres_server.drop("fresh")


def test_addresses_of_two_databases_are_a_mistake(postgres_server: Server) -> None:
    with pytest.raises(ConfigurationError, match="one database"):
        make_database(
            postgres_server.superuser, address(postgres_server, "a", "one"), address(postgres_server, "b", "two")
        )


def test_an_administrator_that_cannot_connect_is_said_without_its_password() -> None:
    nowhere = f"postgresql://postgres:{PASSWORD}@127.0.0.1:1/postgres"
    with pytest.raises(ConfigurationError, match="cannot connect") as refused:
        make_database(nowhere, "postgresql://a@/x", "postgresql://b@/x")
    assert PASSWORD not in str(refused.value)
