"""The demo's supervisor of its own children, with real processes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from control_plane.demo.children import MAX_FAST_EXITS, Child, Children, find_process, handle_of, read_record
from control_plane.demo.settings import DemoError


def never_stopped(seconds: float) -> bool:
    time.sleep(min(seconds, 0.02))
    return False


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def children(tmp_path: Path, said: list[str]) -> Children:
    return Children(record=tmp_path / "children.json", say=said.append, now=time.monotonic, wait=never_stopped)


def sleeper(folder: Path, role: str = "broker") -> Child:
    code = "print('up', flush=True); import time; time.sleep(60)"
    log = folder / f"{role}.log"
    return Child(role, [sys.executable, "-c", code], log, ready=lambda: log.exists() and "up" in log.read_text())


def pid_of(child: Child) -> int:
    assert child.process is not None
    return child.process.pid


def kill(child: Child) -> None:
    assert child.process is not None
    child.process.kill()
    child.process.wait(10)


def test_a_killed_child_is_started_again_and_the_person_is_told(
    children: Children, said: list[str], tmp_path: Path
) -> None:
    child = sleeper(tmp_path)
    children.start(child)
    children.wait_ready(child)
    first = pid_of(child)
    kill(child)
    children.watch()
    assert pid_of(child) != first
    assert said == ["The broker was killed (SIGKILL); starting it again."]
    assert [handle["pid"] for handle in read_record(children.record)] == [pid_of(child)]
    children.stop("broker")
    assert not psutil.pid_exists(pid_of(child))


def test_a_child_that_cannot_start_is_named_with_its_last_words(children: Children, tmp_path: Path) -> None:
    code = "import sys; sys.exit('the port is taken')"
    child = Child("agent", [sys.executable, "-c", code], tmp_path / "agent.log", ready=lambda: False)
    children.start(child)
    with pytest.raises(DemoError, match="The agent did not start: the port is taken"):
        children.wait_ready(child)


def test_a_child_that_keeps_dying_ends_the_demo(children: Children, tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    children.start(child)
    children.wait_ready(child)
    for _ in range(MAX_FAST_EXITS - 1):
        kill(child)
        children.watch()
    kill(child)
    with pytest.raises(DemoError, match="The broker keeps stopping"):
        children.watch()


def test_children_of_a_killed_demo_are_cleared_and_strangers_are_not(
    children: Children, tmp_path: Path, said: list[str]
) -> None:
    child = sleeper(tmp_path)
    children.start(child)
    children.wait_ready(child)
    successor = Children(record=children.record, say=said.append, now=time.monotonic, wait=never_stopped)
    [left] = read_record(children.record)
    successor.clear_stale()
    assert find_process(left) is None
    assert said == ["Stopping the broker left by an earlier start."]


def test_a_handle_names_no_stranger_that_got_the_same_pid() -> None:
    mine = handle_of("test", os.getpid())
    assert find_process(mine) is not None
    assert find_process(mine | {"created": float(mine["created"]) - 3600}) is None
