"""What the demo finds out, and mends, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control_plane.demo.settings import DemoError, DemoSettings, check_machine, move_node


def settings(data: Path, port: int = 20_080, symbols: tuple[str, ...] = ("EURUSD",)) -> DemoSettings:
    return DemoSettings(data, port, None, symbols, 60.0, 1, None, as_json=False)


def test_a_market_without_symbols_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="at least one symbol"):
        check_machine(settings(tmp_path, symbols=()))


def test_a_node_follows_the_demo_to_other_ports(tmp_path: Path) -> None:
    demo = settings(tmp_path, port=30_080)
    path = demo.node_data / "agent.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"node_id": "nod_1", "control_plane_url": "https://127.0.0.1:20081"}))
    move_node(demo)
    assert json.loads(path.read_text()) == {
        "node_id": "nod_1",
        "control_plane_url": "https://127.0.0.1:30081",
        "gateway_listen": "127.0.0.1:30082",
        "gateway_address": "127.0.0.1:30082",
    }
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_node_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match=r"agent\.json is damaged"):
        move_node(settings(tmp_path))
