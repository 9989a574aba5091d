"""A fresh control plane for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from control_plane.identity import passwords
from tests.deployments import EMBEDDED, Deployment, Servers
from tests.postgres import APPLICATION, Server
from tests.unit.control_plane.world import NodePlayer, Trader, World, build_world


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> Iterator[None]:
    """Every test makes several; what a real one costs is looked at in `test_passwords.py`."""
    quick = partial(PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passwords, "PasswordHasher", lambda **_: quick())
        yield


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
        place = Deployment()
        if deployment_kind == EMBEDDED:
            started = request.getfixturevalue("first_start")
        else:
            started, template = request.getfixturevalue("first_start_on_postgres")
            servers: Servers = request.getfixturevalue("servers")
            place = ends.enter_context(servers.deployment(template))
        shutil.copytree(started, tmp_path / "farm")
        yield ends.enter_context(place.world(tmp_path / "farm", portal_dist=tmp_path / "dist"))


@pytest.fixture
def trader(world: World) -> Trader:
    return world.trader()


@pytest.fixture
def node(world: World) -> NodePlayer:
    return world.node()
