"""What the watchdog kills, and when, on real processes and a clock that is turned by hand."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mt5_bridge.lease import Lease, Moment, write_lease
from node_agent.handles import handle_to_data
from node_agent.layout import DataLayout
from node_agent.process import Handle, Role, Slot, birth_of
from node_agent.restarts import RestartPolicy
from node_agent.watchdog.duty import Duty
from node_agent.watchdog.fence_file import (
    BEAT_FILE,
    FENCE_FILE,
    LEASE_FILE,
    Fence,
    Ward,
    read_beat,
    read_fence,
    write_fence,
)
from node_agent.watchdog.keeper import WatchdogKeeper

SENT = Moment("boot", 1000.0, 1_700_000_000.0)
ID = "ter_0000000000000001"
SLEEPER = "import sys, signal; print('up', flush=True); signal.pause()"


class Node:
    """A data folder, a clock, and sleeping processes."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.now = SENT
        self.sequence = 0
        self.children: list[subprocess.Popen[bytes]] = []
        self.duty = Duty(data, lambda: self.now)

    def pass_time(self, seconds: float) -> None:
        self.now = Moment(SENT.boot, SENT.elapsed + seconds, SENT.wall + seconds)

    def sleeper(self, *arguments: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", SLEEPER, *arguments], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        self.children.append(child)
        return child

    def handle(self, child: subprocess.Popen[bytes], **changes: Any) -> dict[str, Any]:
        birth = birth_of(child.pid)
        assert birth is not None
        return handle_to_data(Handle(Slot(Role.TERMINAL, ID), child.pid, birth, 0.0, "f")) | changes

    def tell(self, *handles: dict[str, Any], lease: Lease | None) -> None:
        self.sequence += 1
        ward = Ward(3, str(self.data / "terminals" / ID), handles)
        write_fence(self.data / FENCE_FILE, Fence(self.sequence, lease, {ID: ward}))


def ended(child: subprocess.Popen[bytes]) -> bool:
    return child.wait(10) != 0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    for child in made.children:
        child.kill()
        child.communicate()


def test_nothing_is_killed_while_the_lease_holds(node: Node) -> None:
    terminal = node.sleeper()
    node.tell(node.handle(terminal), lease=Lease(SENT, 240.0))
    node.pass_time(232)
    node.duty.look()
    assert terminal.poll() is None


def test_what_is_overdue_is_killed_before_the_time_is_up(node: Node) -> None:
    terminal = node.sleeper()
    node.tell(node.handle(terminal), lease=Lease(SENT, 240.0))
    node.pass_time(233)
    node.duty.look()
    assert ended(terminal)


def test_a_renewed_lease_is_heard_of(node: Node) -> None:
    terminal = node.sleeper()
    node.tell(node.handle(terminal), lease=Lease(SENT, 240.0))
    node.duty.look()
    node.pass_time(233)
    node.tell(node.handle(terminal), lease=Lease(node.now, 240.0))
    node.duty.look()
    assert terminal.poll() is None


def test_a_lease_that_was_renewed_on_a_full_disk_is_heard_of_and_ends_as_well(node: Node) -> None:
    terminal = node.sleeper()
    node.tell(node.handle(terminal), lease=Lease(SENT, 240.0))
    node.duty.look()
    node.pass_time(200)
    write_lease(node.data / LEASE_FILE, Lease(node.now, 240.0))
    node.pass_time(233)
    node.duty.look()
    assert terminal.poll() is None
    node.pass_time(200 + 233)
    node.duty.look()
    assert ended(terminal)


def test_a_lost_lease_is_heard_of_also_in_a_file_that_looks_like_the_one_before(node: Node) -> None:
    """File systems give a number again at once, and some have clocks that tick in milliseconds."""
    terminal = node.sleeper()
    node.tell(node.handle(terminal), lease=Lease(SENT, 240.0))
    node.duty.look()
    path = node.data / FENCE_FILE
    before, body = path.stat(), json.loads(path.read_text())
    path.write_text(json.dumps(body | {"lease": None}))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    node.duty.look()
    assert ended(terminal)


@pytest.mark.parametrize("boot", ["boot", "another"])
def test_an_older_lease_beside_the_fence_file_takes_nothing_back(node: Node, boot: str) -> None:
    terminal = node.sleeper()
    write_lease(node.data / LEASE_FILE, Lease(Moment(boot, 500.0, SENT.wall - 500), 240.0))
    node.tell(node.handle(terminal), lease=Lease(SENT, 240.0))
    node.pass_time(200)
    node.duty.look()
    assert terminal.poll() is None


def test_without_a_lease_nothing_may_run(node: Node) -> None:
    terminal = node.sleeper()
    node.tell(node.handle(terminal), lease=None)
    node.duty.look()
    assert ended(terminal)


def test_a_fence_file_that_went_away_or_broke_takes_nothing_back(node: Node) -> None:
    terminal = node.sleeper()
    node.tell(node.handle(terminal), lease=Lease(SENT, 240.0))
    node.duty.look()
    (node.data / FENCE_FILE).write_text("{}")
    node.duty.look()
    (node.data / FENCE_FILE).unlink()
    node.pass_time(233)
    node.duty.look()
    assert ended(terminal)


def test_a_process_that_only_has_the_pid_of_ours_is_left_alone(node: Node) -> None:
    other = node.sleeper()
    node.tell(node.handle(other, birth="another"), lease=None)
    node.duty.look()
    assert other.poll() is None


def test_a_handle_of_a_later_version_names_a_process_all_the_same(node: Node) -> None:
    terminal = node.sleeper()
    node.tell(node.handle(terminal, v=9, kind="zeppelin", facts={"new": "thing"}), lease=None)
    node.duty.look()
    assert ended(terminal)


@pytest.mark.parametrize("path", ["folder", "worker.json"])
def test_a_process_that_was_never_told_of_is_found_by_its_folder(node: Node, path: str) -> None:
    untold = node.sleeper("--folder", str(node.data / "terminals" / ID / path))
    neighbour = node.sleeper("--folder", str(node.data / "terminals" / f"{ID}2" / path))
    node.tell(lease=None)
    node.duty.look()
    assert ended(untold)
    assert neighbour.poll() is None


def test_it_shows_which_fence_file_it_goes_by(node: Node) -> None:
    node.duty.look()
    beat = read_beat(node.data / BEAT_FILE)
    assert beat is not None
    assert (beat.pid, beat.sequence) == (os.getpid(), -1)
    node.tell(lease=Lease(SENT, 240.0))
    node.pass_time(1)
    node.duty.look()
    beat = read_beat(node.data / BEAT_FILE)
    assert beat is not None
    assert (beat.sequence, beat.elapsed) == (1, SENT.elapsed + 1)


@pytest.mark.parametrize(
    "broken",
    [
        lambda body: body.replace('"sequence"', '"other"'),
        lambda body: body.replace('"terminals": {', '"terminals": [], "x": {'),
        lambda body: body[:-10],
        lambda _: "[]",
    ],
)
def test_what_is_no_fence_file_is_not_taken_for_one(node: Node, broken: Callable[[str], str]) -> None:
    node.tell(lease=Lease(SENT, 240.0))
    path = node.data / FENCE_FILE
    assert read_fence(path) is not None
    path.write_text(broken(path.read_text()))
    with pytest.raises(ValueError, match=r"."):
        read_fence(path)


class NoWatchdog:
    """A machine on which it does not start."""

    def running(self, _slot: Slot) -> None:
        return None

    def start(self, *_: object) -> Handle:
        raise OSError(errno.ENOEXEC, "Exec format error")


def test_an_agent_without_a_watchdog_ends_what_is_overdue_and_gives_no_sign_of_one(node: Node) -> None:
    machine: Any = NoWatchdog()
    policy = RestartPolicy(settled=60, base=1, cap=300, window=900, limit=5)
    keeper = WatchdogKeeper(DataLayout(node.data), machine, machine, "watchdog", policy, lambda: 0.0, node.duty)
    terminal = node.sleeper()
    node.tell(node.handle(terminal), lease=Lease(SENT, 240.0))
    keeper.tick()
    assert terminal.poll() is None
    node.pass_time(233)
    keeper.tick()
    assert ended(terminal)
    assert read_beat(node.data / BEAT_FILE) is None
