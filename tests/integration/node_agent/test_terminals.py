"""What the agent makes of each wish of the snapshot. The tests share one running node; each has its own terminal."""

from __future__ import annotations

import io
import os
import signal
import tarfile

import pytest

from node_agent.protocol.messages import BotLogBody, Guard, TerminalRequest
from tests.integration.node_agent.agent_node import AgentNode, bot_id, gone, terminal_id
from tests.integration.node_agent.control_plane_stand_in import wait_until


def test_a_wanted_terminal_becomes_ready_and_its_bot_runs(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(1, bots=[node.bot(11)]))
    seen = node.wait_phase(1, "ready")
    assert seen.account is not None
    assert (seen.account.login, seen.account.balance) == (1001, 1000.0)
    assert seen.account.broker_time > 0
    assert seen.last_answer_at is not None
    assert node.wait_bot(1, 11, "running") == node.processes_of(1)["bot"]
    assert (seen.terminal_pid, seen.worker_pid) == (node.processes_of(1)["terminal"], node.processes_of(1)["worker"])
    node.plane.drop(terminal_id(1))


def test_credentials_leave_the_disk_once_the_broker_has_accepted_them(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(2, password="pa55word-of-the-test"))
    node.wait_phase(2, "ready")
    startup = node.layout.terminal(terminal_id(2)).folder / "config" / "startup.ini"
    wait_until(lambda: not startup.exists(), 5, "the start-up file is removed")
    # The stub terminal itself writes down the password it was given; nothing of ours may.
    ours = [path for path in node.home.rglob("*") if path.is_file() and path.name != "logins"]
    assert not [path for path in ours if b"pa55word-of-the-test" in path.read_bytes()]
    node.plane.drop(terminal_id(2))


def test_an_unwanted_terminal_is_stopped_and_later_its_folder_removed(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(3, bots=[node.bot(31)]))
    node.wait_phase(3, "ready")
    node.wait_bot(3, 31, "running")
    # Deals of the last moment are collected before the worker goes.
    node.write_deals(3, [5])
    node.plane.put(node.desired(3, running=False))
    node.wait_phase(3, "stopped")
    assert node.processes_of(3) == {}
    wait_until(lambda: node.deals(3) == {5}, 5, "the last deal arrives")
    folder = node.layout.terminal(terminal_id(3)).root
    assert folder.exists()
    node.plane.drop(terminal_id(3))
    wait_until(lambda: not folder.exists(), 10, "the folder is removed")
    wait_until(lambda: node.observed(3) is None, 5, "it is no longer reported")


@pytest.mark.parametrize("role", ["terminal", "worker", "bot"])
def test_a_killed_child_is_replaced_and_only_it(shared_node: AgentNode, role: str) -> None:
    node = shared_node
    node.plane.put(node.desired(4, bots=[node.bot(41)]))
    node.wait_phase(4, "ready")
    node.wait_bot(4, 41, "running")
    before = node.processes_of(4)
    os.kill(before[role], signal.SIGKILL)

    def whole() -> bool:
        now = node.processes_of(4)
        return len(now) == 3 and all((now[each] == before[each]) == (each != role) for each in now)

    wait_until(whole, 10, f"only the {role} was replaced")
    node.wait_phase(4, "ready")
    node.wait_bot(4, 41, "running")


def test_a_new_revision_restarts_the_bot_and_a_missing_one_stops_it(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(5, bots=[node.bot(51)]))
    first = node.wait_bot(5, 51, "running")
    node.plane.put(node.desired(5, bots=[node.bot(51, revision=2)]))
    wait_until(lambda: node.wait_bot(5, 51, "running") != first, 10, "another process runs")
    assert gone(first)
    node.plane.put(node.desired(5))
    assert node.wait_bot(5, 51, "stopped") == 0
    logs = [each.body for each in node.plane.seen.events.values() if each.terminal_id == terminal_id(5)]
    texts = [body.text for body in logs if isinstance(body, BotLogBody)]
    assert texts == ["running revision 1", "running revision 2"]
    node.plane.drop(terminal_id(5))


def test_a_bot_that_gives_up_stays_failed_and_one_that_crashes_backs_off(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(6, bots=[node.bot(61, "hopeless"), node.bot(62, "nervous")]))
    assert node.wait_bot(6, 61, "failed") == 0
    node.wait_bot(6, 62, "backing_off")

    def crashed_twice() -> bool:
        seen = node.observed(6)
        return seen is not None and {bot.bot_id: bot.restarts for bot in seen.bots}[bot_id(62)] >= 2

    wait_until(crashed_twice, 10, "the nervous bot crashed twice")
    seen = node.observed(6)
    assert seen is not None
    hopeless = next(bot for bot in seen.bots if bot.bot_id == bot_id(61))
    assert hopeless.restarts == 1
    assert hopeless.reason == "the parameters make no sense"
    assert seen.phase == "ready"
    node.plane.drop(terminal_id(6))


def test_a_terminal_that_keeps_dying_is_in_a_crash_loop(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(7, password="crash"))
    looping = node.wait_phase(7, "crash_loop", 30)
    assert looping.reason == "process_exit"
    assert looping.restarts >= 5
    node.plane.drop(terminal_id(7))


def test_a_restart_request_is_carried_out_once(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(8))
    old = node.wait_phase(8, "ready").terminal_pid
    node.plane.put(node.desired(8, requests=[TerminalRequest(request_id="req-1", kind="restart")]))
    wait_until(lambda: (seen := node.observed(8)) and seen.finished_requests == ["req-1"], 10, "it is finished")
    assert node.wait_phase(8, "ready").terminal_pid != old
    assert node.logins(8) == ["right", "right"]
    node.plane.drop(terminal_id(8))


def test_logs_are_packed_on_request(shared_node: AgentNode) -> None:
    node = shared_node
    request = TerminalRequest(request_id="req-2", kind="collect_logs")
    node.plane.put(node.desired(9, requests=[request]))
    wait_until(lambda: (seen := node.observed(9)) and seen.finished_requests == ["req-2"], 10, "it is finished")
    content = wait_until(lambda: node.plane.bundles.get((terminal_id(9), "req-2")), 15, "the bundle arrives")
    with tarfile.open(fileobj=io.BytesIO(content)) as bundle:
        assert {"logs/terminal.log", "logs/worker.log"} <= set(bundle.getnames())
    wait_until(lambda: list(node.layout.bundles.iterdir()) == [], 5, "it does not stay on the node")
    node.plane.drop(terminal_id(9))


def test_a_worker_that_hangs_on_its_terminal_is_replaced_and_the_terminal_kept(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(10))
    before = node.wait_phase(10, "ready")
    hang = node.layout.terminal(terminal_id(10)).folder / "hang"
    hang.touch()
    assert node.wait_phase(10, "degraded").reason == "ipc_timeout"
    wait_until(lambda: node.processes_of(10).get("worker") not in {None, before.worker_pid}, 10, "a new worker")
    hang.unlink()
    assert node.wait_phase(10, "ready").terminal_pid == before.terminal_pid
    node.plane.drop(terminal_id(10))


def test_a_new_guard_reaches_the_running_worker(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(11))
    before = node.wait_phase(11, "ready")
    node.plane.put(node.desired(11, guard=Guard(symbols=["EURUSD"], max_volume=0.5)))
    log = node.layout.terminal(terminal_id(11)).logs / "bridge.log"
    wait_until(lambda: "EURUSD" in log.read_text(), 10, "the worker is configured")
    assert node.wait_phase(11, "ready").worker_pid == before.worker_pid
    node.plane.drop(terminal_id(11))


def test_a_new_epoch_replaces_worker_and_bots_and_keeps_the_terminal(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(12, bots=[node.bot(121)]))
    node.wait_phase(12, "ready")
    node.wait_bot(12, 121, "running")
    before = node.processes_of(12)
    node.plane.put(node.desired(12, epoch=2, bots=[node.bot(121)]))

    def replaced() -> bool:
        now = node.processes_of(12)
        return len(now) == 3 and {role for role in now if now[role] != before[role]} == {"bot", "worker"}

    wait_until(replaced, 10, "worker and bot were replaced")
    wait_until(lambda: (seen := node.observed(12)) and (seen.epoch, seen.phase) == (2, "ready"), 10, "ready anew")
    node.plane.drop(terminal_id(12))


def test_credentials_sealed_for_another_purpose_fail_at_once_with_a_reason(shared_node: AgentNode) -> None:
    node = shared_node
    wish = node.desired(13)
    node.plane.put(wish.model_copy(update={"credentials": wish.credentials[:-4] + "AAAA"}))
    assert node.wait_phase(13, "failed").reason == "bad_credentials"
    assert node.logins(13) == []
    node.plane.drop(terminal_id(13))


def test_an_unknown_runtime_fails_with_a_reason(shared_node: AgentNode) -> None:
    node = shared_node
    node.plane.put(node.desired(14, runtime="wine_container"))
    failed = node.wait_phase(14, "failed")
    assert failed.reason == "template_broken"
    assert "wine_container" in failed.detail
    node.plane.drop(terminal_id(14))
