"""A fresh control plane for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.control_plane.world import NodePlayer, Trader, World, build_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = build_world(tmp_path / "farm", portal_dist=tmp_path / "dist")
    yield made
    made.farm.stop()


@pytest.fixture
def trader(world: World) -> Trader:
    return world.trader()


@pytest.fixture
def node(world: World) -> NodePlayer:
    return world.node()
