"""A fresh control plane for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deployments import EMBEDDED, Servers
from tests.postgres import APPLICATION, Server
from tests.unit.control_plane.world import NodePlayer, Trader, World, build_world

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
def world(tmp_path: Path, deployment_kind: str, request: pytest.FixtureRequest) -> Iterator[World]:
    """On both sets of parts, if the module says so: each test is then two."""
    with ExitStack() as ends:
        if deployment_kind == EMBEDDED:
            shutil.copytree(request.getfixturevalue("first_start"), tmp_path / "farm")
            made = build_world(tmp_path / "farm", portal_dist=tmp_path / "dist")
        else:
            made = _on_servers(tmp_path, request, ends)
        ends.callback(made.farm.stop)
        yield made


def _on_servers(folder: Path, request: pytest.FixtureRequest, ends: ExitStack) -> World:
    servers: Servers = request.getfixturevalue("servers")
    started, template = request.getfixturevalue("first_start_on_postgres")
    place = ends.enter_context(servers.deployment(template))
    shutil.copytree(started, folder / "farm")
    made = build_world(folder / "farm", portal_dist=folder / "dist", **place.settings)
    ends.enter_context(servers.crew.serving(made.farm))
    made.carry_out_jobs = lambda: servers.crew.carry_out(made.farm)
    return made


@pytest.fixture
def trader(world: World) -> Trader:
    return world.trader()


@pytest.fixture
def node(world: World) -> NodePlayer:
    return world.node()
