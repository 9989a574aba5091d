"""A fresh control plane for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.control_plane.world import NodePlayer, Trader, World, build_world


@pytest.fixture(scope="session")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a control plane that has been started once; copying it is faster than making it."""
    data = tmp_path_factory.mktemp("first-start") / "farm"
    build_world(data).farm.stop()
    return data


@pytest.fixture
def world(tmp_path: Path, first_start: Path) -> Iterator[World]:
    shutil.copytree(first_start, tmp_path / "farm")
    made = build_world(tmp_path / "farm", portal_dist=tmp_path / "dist")
    yield made
    made.farm.stop()


@pytest.fixture
def trader(world: World) -> Trader:
    return world.trader()


@pytest.fixture
def node(world: World) -> NodePlayer:
    return world.node()
