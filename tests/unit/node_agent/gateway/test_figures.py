"""What the gateway counts, and how its agent reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.gateway.figures import FiguresFile, GatewayFigures, Tally, read_figures


def test_open_and_closed_sessions_add_up() -> None:
    tally = Tally()
    first, second = tally.open(), tally.open()
    first.bytes_in, first.bytes_out = 10, 20
    second.bytes_in = 5
    tally.close(first)
    second.bytes_in += 1
    found = tally.figures(1, strangers=4)
    assert (found.sessions, found.opened, found.strangers) == (1, 2, 4)
    assert (found.bytes_in, found.bytes_out) == (16, 20)


def test_refusals_and_endings_are_told_by_their_reason() -> None:
    tally = Tally()
    for code in ("ticket_used", "ticket_used", "busy"):
        tally.refuse(code)
    tally.end("stale_epoch")
    tally.turn_away()
    found = tally.figures(1, 0)
    assert (found.refused, found.ended, found.turned_away) == ({"ticket_used": 2, "busy": 1}, {"stale_epoch": 1}, 1)


def test_the_agent_reads_what_this_very_process_has_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    FiguresFile(path).write(GatewayFigures(pid=7, opened=3))
    assert read_figures(path, 7) == GatewayFigures(pid=7, opened=3)
    assert read_figures(path, 8) is None
    assert read_figures(path, None) is None


@pytest.mark.parametrize("junk", [b"", b"{}", b"[]", b"\xff", b'{"pid": "x"}'])
def test_a_broken_file_says_nothing(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "figures.json"
    path.write_bytes(junk)
    assert read_figures(path, 7) is None


def test_an_idle_gateway_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    file = FiguresFile(path)
    file.write(GatewayFigures(pid=7))
    path.unlink()
    file.write(GatewayFigures(pid=7))
    assert not path.exists()
