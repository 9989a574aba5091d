"""Terminals that must die when their node loses touch, with the real watchdog; and the others, which run on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.integration.node_agent.agent_node import AgentNode, gone
from tests.integration.node_agent.control_plane_stand_in import wait_until

FENCE_SECONDS = 4.0


@pytest.fixture
def fenced(node: AgentNode) -> Iterator[AgentNode]:
    """Terminal 1 fences itself, terminal 2 keeps running; both are ready and the watchdog is awake."""
    node.plane.fence_seconds = FENCE_SECONDS
    node.plane.want(node.desired(1, lease_policy="self_fence", bots=[node.bot(1)]), node.desired(2))
    node.start()
    for number in (1, 2):
        node.wait_phase(number, "ready")
    node.wait_bot(1, 1, "running")
    wait_until(lambda: node.plane.seen.syncs[-1].report.watchdog_up, 10, "the watchdog is up")
    yield node
    assert node.agent is not None
    if node.agent.poll() is None:
        node.agent.send_signal(signal.SIGCONT)


def test_a_hung_agent_cannot_keep_a_terminal_alive(fenced: AgentNode) -> None:
    assert fenced.agent is not None
    mine, other = fenced.processes_of(1), fenced.processes_of(2)
    fenced.agent.send_signal(signal.SIGSTOP)
    wait_until(lambda: all(gone(pid) for pid in mine.values()), FENCE_SECONDS + 5, "the watchdog has killed everything")
    assert fenced.processes_of(2) == other
    fenced.agent.send_signal(signal.SIGCONT)
    wait_until(lambda: fenced.processes_of(1).keys() == mine.keys(), 15, "everything runs again")
    again = fenced.wait_phase(1, "ready")
    assert again.restarts == 0, "to be fenced is no crash"
    assert fenced.processes_of(2) == other


def test_a_killed_agent_cannot_either(fenced: AgentNode) -> None:
    mine, other = fenced.processes_of(1), fenced.processes_of(2)
    fenced.end(signal.SIGKILL)
    wait_until(lambda: all(gone(pid) for pid in mine.values()), FENCE_SECONDS + 5, "the watchdog has killed everything")
    assert fenced.processes_of(2) == other


def test_without_the_control_plane_the_agent_ends_it_in_order_and_starts_it_again_when_heard(fenced: AgentNode) -> None:
    mine, other = fenced.processes_of(1), fenced.processes_of(2)
    fenced.plane.syncs_work = False
    wait_until(lambda: all(gone(pid) for pid in mine.values()), FENCE_SECONDS + 5, "the agent has ended everything")
    assert "lease over" not in (fenced.data / "watchdog.log").read_text(), "before the watchdog had to"
    assert fenced.processes_of(2) == other
    known = len(fenced.plane.seen.syncs)
    fenced.plane.syncs_work = True
    wait_until(lambda: len(fenced.plane.seen.syncs) > known, 20, "the agent is heard again")
    told = next(each for each in fenced.plane.seen.syncs[known].terminals if each.epoch == 1 and each.bots)
    assert (told.phase, told.reason) == ("backing_off", "lease_expired")
    fenced.wait_phase(1, "ready")


def test_a_watchdog_that_dies_or_hangs_is_told_and_replaced(fenced: AgentNode) -> None:
    def watchdog() -> int:
        return fenced.processes().get(("watchdog", ""), 0)

    first = watchdog()
    os.kill(first, signal.SIGKILL)
    second = wait_until(lambda: watchdog() not in {0, first} and watchdog(), 10, "a new watchdog")
    wait_until(lambda: fenced.plane.seen.syncs[-1].report.watchdog_up, 10, "it is up")
    os.kill(second, signal.SIGSTOP)
    wait_until(lambda: not fenced.plane.seen.syncs[-1].report.watchdog_up, 10, "nobody relies on a hung one")
    wait_until(lambda: watchdog() not in {0, second}, 20, "it is replaced")


def test_each_answer_is_remembered_before_the_next_sync(node: AgentNode) -> None:
    node.start()
    wait_until(lambda: len(node.plane.shown) >= 3, 15, "three syncs")
    node.end(signal.SIGKILL)
    known = len(node.plane.shown)
    node.start()
    wait_until(lambda: len(node.plane.shown) > known, 15, "a sync of the next agent")
    shown = node.plane.shown
    assert shown[:3] == ["", "token-1", "token-2"]
    # The last answer before the kill may not have arrived.
    assert shown[known] in {f"token-{known}", f"token-{known - 1}"}
