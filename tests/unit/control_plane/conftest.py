"""A fresh control plane for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.postgres import APPLICATION, Server
from tests.unit.control_plane.world import NodePlayer, Trader, World, build_world

BOTH = ("sqlite", "postgres")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module marked `both_databases` runs on SQLite and on Postgres."""
    marked = metafunc.definition.get_closest_marker("both_databases")
    if marked is not None and "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", BOTH, indirect=True)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    kind: str = getattr(request, "param", BOTH[0])
    return kind


@pytest.fixture(scope="session")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a control plane that has been started once; copying it is faster than making it."""
    data = tmp_path_factory.mktemp("first-start") / "farm"
    build_world(data).farm.stop()
    return data


@pytest.fixture(scope="session")
def first_start_on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> tuple[Path, str]:
    """The same on Postgres: the folder, and the name of the database."""
    data, database = tmp_path_factory.mktemp("first-start") / "farm", postgres_server.migrated_database()
    build_world(data, database_url=postgres_server.url(APPLICATION, database)).farm.stop()
    return data, database


@pytest.fixture
def world(tmp_path: Path, database_kind: str, request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as ends:
        settings: dict[str, Any] = {"portal_dist": tmp_path / "dist"}
        if database_kind == "sqlite":
            started = request.getfixturevalue("first_start")
        else:
            started, template = request.getfixturevalue("first_start_on_postgres")
            server: Server = request.getfixturevalue("postgres_server")
            name = server.copy_of(template)
            ends.callback(server.drop, name)
            settings["database_url"] = server.url(APPLICATION, name)
        shutil.copytree(started, tmp_path / "farm")
        made = build_world(tmp_path / "farm", **settings)
        ends.callback(made.farm.stop)
        yield made


@pytest.fixture
def trader(world: World) -> Trader:
    return world.trader()


@pytest.fixture
def node(world: World) -> NodePlayer:
    return world.node()
