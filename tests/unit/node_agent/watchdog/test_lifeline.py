"""What is told to watchdog and bridges: before it counts, and never more than was heard."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.lease import Lease, LeaseGuard, Moment, read_lease
from node_agent.database import Database
from node_agent.layout import DataLayout
from node_agent.lease import Stage
from node_agent.process import Children, Role, Slot
from node_agent.protocol.messages import DesiredTerminal, Guard
from node_agent.roster import Roster
from node_agent.state import StateStore
from node_agent.watchdog import lifeline as lifeline_module
from node_agent.watchdog.fence_file import Beat, Fence, read_fence, write_beat
from node_agent.watchdog.lifeline import Lifeline

SENT = Moment("boot", 1000.0, 1_700_000_000.0)


def terminal(number: int, policy: str = "self_fence") -> DesiredTerminal:
    return DesiredTerminal.model_validate(
        {
            "terminal_id": f"ter_{number:016d}",
            "account_id": f"acc_{number:016d}",
            "tenant_id": "ten_0000000000000001",
            "epoch": number,
            "running": True,
            "runtime": "simulated",
            "login": 7,
            "server": "Demo",
            "credentials": "box",
            "credentials_version": 1,
            "guard": Guard(),
            "lease_policy": policy,
        }
    )


class Node:
    def __init__(self, folder: Path) -> None:
        self.layout = DataLayout.open(folder)
        for number in (1, 2):
            self.layout.terminal(f"ter_{number:016d}").root.mkdir()
        self.database = Database(self.layout.database)
        self.roster = Roster(StateStore(self.database), Children(), lambda: 1.0)
        self.now = SENT
        self.lifeline = self.open()

    def open(self) -> Lifeline:
        return Lifeline(self.layout, self.roster, lambda: self.now)

    def problem(self) -> str | None:
        return self.lifeline.problem

    def pass_time(self, seconds: float) -> None:
        self.now = Moment(SENT.boot, SENT.elapsed + seconds, SENT.wall + seconds)

    def fence(self) -> Fence:
        found = read_fence(self.layout.fence)
        assert found is not None
        return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.database.close()


FIRST, SECOND = terminal(1), terminal(2)


def test_the_watchdog_hears_of_what_fences_itself_and_of_nothing_else(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST, terminal(2, "keep_running")])
    assert node.fence().lease == Lease(SENT, 240.0)
    assert {each: ward.epoch for each, ward in node.fence().wards.items()} == {FIRST.terminal_id: 1}


def test_the_bridge_hears_of_an_earlier_end(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    assert read_lease(node.layout.terminal(FIRST.terminal_id).lease) == Lease(SENT, 216.0)


def test_a_node_without_such_terminals_writes_nothing(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [terminal(1, "keep_running")])
    assert not node.layout.fence.exists()
    assert node.lifeline.may_start(FIRST.terminal_id)


def test_its_processes_are_told_as_they_start(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    handle = node.roster.start(Slot(Role.WORKER, FIRST.terminal_id), command, node.layout.root / "out" / "log", "f")
    try:
        (told,) = node.fence().wards[FIRST.terminal_id].handles
        assert told["pid"] == handle.pid
    finally:
        node.roster.kill(handle.slot)


def test_nothing_starts_once_the_lease_is_over(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    assert node.lifeline.may_start(FIRST.terminal_id)
    node.pass_time(216)
    assert node.lifeline.stage() is Stage.STOP
    assert not node.lifeline.may_start(FIRST.terminal_id)


def test_a_lease_is_fresh_until_half_of_it_is_spent_and_where_nothing_depends_on_it(node: Node) -> None:
    assert node.lifeline.is_fresh()
    node.lifeline.renew(SENT, 240.0, [FIRST])
    node.pass_time(119)
    assert node.lifeline.is_fresh()
    node.pass_time(121)
    assert not node.lifeline.is_fresh()


def test_before_the_first_answer_nothing_starts_and_nothing_trades(node: Node) -> None:
    node.lifeline.protect([FIRST])
    assert not node.lifeline.may_start(FIRST.terminal_id)
    assert LeaseGuard(node.layout.terminal(FIRST.terminal_id).lease, lambda: node.now).over()


def test_a_restarted_agent_holds_the_lease_it_had(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    node.pass_time(100)
    again = node.open()
    again.protect([FIRST])
    assert again.may_start(FIRST.terminal_id)
    node.pass_time(216)
    assert not again.may_start(FIRST.terminal_id)


def test_a_terminal_that_may_keep_running_is_released(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST, SECOND])
    node.lifeline.renew(SENT, 240.0, [terminal(1, "keep_running"), SECOND])
    assert set(node.fence().wards) == {SECOND.terminal_id}
    assert not node.layout.terminal(FIRST.terminal_id).lease.exists()


def test_what_leaves_the_node_is_watched_until_it_is_gone(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    slot = Slot(Role.TERMINAL, FIRST.terminal_id)
    handle = node.roster.start(slot, command, node.layout.root / "out" / "log", "f")
    try:
        node.lifeline.renew(SENT, 240.0, [])
        (told,) = node.fence().wards[FIRST.terminal_id].handles
        assert told["pid"] == handle.pid, "an agent that hangs now must not keep it alive"
        node.lifeline = node.open()
        node.lifeline.protect([])
        assert set(node.fence().wards) == {FIRST.terminal_id}, "nor one that was killed"
    finally:
        node.roster.kill(slot)
    node.lifeline.renew(SENT, 240.0, None)
    assert node.fence().wards == {}


def test_an_answer_without_a_snapshot_changes_the_lease_alone(node: Node) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    node.pass_time(10)
    node.lifeline.renew(node.now, 240.0, None)
    assert node.fence().lease == Lease(node.now, 240.0)
    assert set(node.fence().wards) == {FIRST.terminal_id}


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let these writers find no room."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in names:
        monkeypatch.setattr(lifeline_module, name, full)


def test_what_could_not_be_written_down_does_not_count(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    node.pass_time(100)
    with monkeypatch.context() as patched:
        refuse(patched, "write_fence", "write_lease")
        node.lifeline.renew(node.now, 240.0, [FIRST, SECOND])
        assert node.problem() is not None
        assert node.lifeline.stage() is Stage.HELD
        node.pass_time(220)
        assert node.lifeline.stage() is Stage.STOP, "the watchdog goes by the older lease"
    node.lifeline.renew(node.now, 240.0, None)
    assert node.problem() is None
    assert node.lifeline.may_start(SECOND.terminal_id)


def test_a_full_disk_ends_nothing_and_starts_nothing_new(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    node.pass_time(100)
    with monkeypatch.context() as patched:
        refuse(patched, "write_fence")
        node.lifeline.renew(node.now, 240.0, [FIRST, SECOND])
        assert not node.lifeline.may_start(SECOND.terminal_id), "the watchdog does not know of it"
        node.pass_time(220)
        assert node.lifeline.may_start(FIRST.terminal_id)
        again = node.open()
        assert again.stage() is Stage.HELD, "a restarted agent knows as well"
        node.pass_time(100 + 216)
        assert node.lifeline.stage() is again.stage() is Stage.STOP


def test_a_lease_is_not_renewed_for_what_runs_and_the_watchdog_does_not_know(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.lifeline.renew(SENT, 240.0, [FIRST])
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    slot = Slot(Role.TERMINAL, SECOND.terminal_id)
    node.roster.start(slot, command, node.layout.root / "out" / "log", "f")
    try:
        with monkeypatch.context() as patched:
            refuse(patched, "write_fence")
            node.pass_time(100)
            node.lifeline.renew(node.now, 240.0, [FIRST, SECOND])
            assert node.problem() is not None
            node.pass_time(220)
            assert node.lifeline.stage() is Stage.STOP
    finally:
        node.roster.kill(slot)


class TestSignsOfLife:
    def beat(self, node: Node, sequence: int, age: float = 0.0) -> None:
        write_beat(node.layout.beat, Beat(42, sequence, node.now.elapsed - age))

    def test_counts_while_it_is_fresh_and_of_the_right_process(self, node: Node) -> None:
        node.lifeline.renew(SENT, 240.0, [FIRST])
        self.beat(node, 0)
        assert node.lifeline.is_seen_by(42)
        assert not node.lifeline.is_seen_by(43)
        self.beat(node, 0, age=3.5)
        assert not node.lifeline.is_seen_by(42)

    def test_one_that_does_not_read_is_not_awake(self, node: Node) -> None:
        node.lifeline.renew(SENT, 240.0, [FIRST])
        self.beat(node, -1)
        assert node.lifeline.is_seen_by(42), "it had no time yet to read"
        node.pass_time(4)
        self.beat(node, -1)
        assert not node.lifeline.is_seen_by(42)

    def test_none_is_none(self, node: Node) -> None:
        assert not node.lifeline.is_seen_by(42)

    def test_on_a_node_with_nothing_to_fence_one_that_has_read_nothing_is_awake(self, node: Node) -> None:
        node.pass_time(100)
        self.beat(node, -1)
        assert node.lifeline.is_seen_by(42)
