"""The agent's own life: it may be killed, restarted, doubled or cut off, and the node stays what it should be."""

from __future__ import annotations

import json
import os
import signal
import sqlite3

from tests.integration.node_agent.agent_node import AgentNode, gone, terminal_id
from tests.integration.node_agent.control_plane_stand_in import wait_until


def test_a_refused_password_is_tried_once_more_and_then_never_until_it_changes(node: AgentNode) -> None:
    node.plane.want(node.desired(1, password="wrong"))
    node.start()
    failed = node.wait_phase(1, "failed", 25)
    assert failed.reason == "bad_credentials"
    assert "password" in failed.detail
    assert node.logins(1) == ["wrong", "wrong"]
    assert node.processes_of(1) == {}
    node.end(signal.SIGKILL)
    node.start()
    syncs = len(node.plane.seen.syncs)
    wait_until(lambda: len(node.plane.seen.syncs) > syncs + 2, 10, "the new agent syncs")
    assert node.logins(1) == ["wrong", "wrong"], "a restarted agent remembers the hold"
    node.plane.want(node.desired(1, password="right", credentials_version=2))
    node.wait_phase(1, "ready")
    assert node.logins(1) == ["wrong", "wrong", "right"]


def test_a_killed_gateway_is_replaced(node: AgentNode) -> None:
    node.start()
    wait_until(lambda: node.plane.seen.syncs and node.plane.seen.syncs[-1].report.gateway_up, 10, "the gateway is up")
    before = node.processes()["gateway", ""]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: node.processes().get(("gateway", ""), before) != before, 10, "a new gateway")
    wait_until(lambda: node.plane.seen.syncs[-1].report.gateway_up, 10, "the new gateway is up")


def test_a_killed_agent_finds_everything_again(node: AgentNode) -> None:
    node.plane.want(node.desired(1, bots=[node.bot(1)]), node.desired(2))
    node.start()
    for number in (1, 2):
        node.wait_phase(number, "ready")
    node.wait_bot(1, 1, "running")
    before = node.processes()
    node.end(signal.SIGKILL)
    known = len(node.plane.seen.syncs)
    node.start()
    wait_until(lambda: len(node.plane.seen.syncs) > known, 10, "the new agent syncs")
    first = {each.terminal_id: each.phase.value for each in node.plane.seen.syncs[known].terminals}
    assert set(first) == {terminal_id(1), terminal_id(2)}
    assert set(first.values()) <= {"logging_in", "ready"}, "what runs is not reported as starting or stopped"
    for number in (1, 2):
        node.wait_phase(number, "ready")
    assert node.processes() == before


def test_a_terminal_whose_handle_was_lost_is_never_doubled(node: AgentNode) -> None:
    node.plane.want(node.desired(1))
    node.start()
    node.wait_phase(1, "ready")
    old = node.processes()
    node.end(signal.SIGKILL)
    with sqlite3.connect(node.layout.database) as database:
        database.execute("DELETE FROM handle")
    database.close()
    syncs = len(node.plane.seen.syncs)
    node.start()
    wait_until(lambda: len(node.plane.seen.syncs) > syncs, 10, "the new agent syncs")
    new = wait_until(lambda: len(found := node.processes()) == 4 and found, 10, "four processes")
    node.wait_phase(1, "ready")
    replaced = [pid for key, pid in old.items() if new[key] != pid]
    wait_until(lambda: all(gone(pid) for pid in replaced), 5, "the replaced processes are gone")


def test_a_stopped_agent_leaves_children_running_and_down_ends_them(node: AgentNode) -> None:
    node.plane.want(node.desired(1, bots=[node.bot(1)]))
    node.start()
    node.wait_phase(1, "ready")
    node.wait_bot(1, 1, "running")
    refused = node.cli("down", "--data", node.data)
    assert refused.returncode == 2
    assert "agent is running" in refused.stderr
    second = node.cli("run", "--data", node.data)
    assert second.returncode == 2
    assert "another agent" in second.stderr
    assert node.end() == 0
    listed = json.loads(node.cli("processes", "--data", node.data, "--json").stdout)
    assert sorted(row["role"] for row in listed if row["alive"]) == ["bot", "gateway", "terminal", "watchdog", "worker"]
    done = node.cli("down", "--data", node.data)
    assert json.loads(done.stdout) == {"stopped": 5}
    assert all(gone(row["pid"]) for row in listed)


def test_without_the_control_plane_a_restarted_agent_carries_on_and_delivers_later(node: AgentNode) -> None:
    node.plane.want(node.desired(1))
    node.start()
    node.wait_phase(1, "ready")
    node.plane.node_known = False
    wait_until(lambda: '"event": "node_unknown"' in node.log.read_text(), 10, "the log says so")
    node.end(signal.SIGKILL)
    node.write_deals(1, [7, 8])
    worker = node.processes_of(1)["worker"]
    os.kill(worker, signal.SIGKILL)
    node.start()
    wait_until(lambda: node.processes_of(1).get("worker", worker) != worker, 10, "a new worker without any sync")
    assert node.deals(1) == set()
    node.plane.node_known = True
    wait_until(lambda: node.deals(1) == {7, 8}, 20, "the deals arrive")


def test_deals_arrive_exactly_once_even_if_the_agent_is_killed(node: AgentNode) -> None:
    node.plane.want(node.desired(1))
    node.start()
    node.wait_phase(1, "ready")
    node.write_deals(1, [3, 1])
    wait_until(lambda: node.deals(1) == {3, 1}, 10, "two deals")
    node.write_deals(1, [3, 1, 2, 9])
    wait_until(lambda: node.deals(1) == {3, 1, 2, 9}, 10, "one of them booked late")
    node.plane.events_work = False
    node.write_deals(1, [3, 1, 2, 9, 10])
    wait_until(lambda: node.plane.seen.syncs[-1].report.spooled_events == 1, 10, "a deal waits in the spool")
    node.end(signal.SIGKILL)
    node.write_deals(1, [3, 1, 2, 9, 10, 11])
    node.plane.events_work = True
    node.start()
    wait_until(lambda: node.deals(1) == {3, 1, 2, 9, 10, 11}, 10, "the deal of the time without an agent")
    assert node.plane.seen.repeated_events == 0


def test_a_taken_gateway_port_is_named_and_stops_nothing_else(node: AgentNode) -> None:
    taken = node.plane.url.removeprefix("https://")
    config = json.loads(node.layout.config.read_text())
    node.layout.config.write_text(json.dumps({**config, "gateway_listen": taken}))
    node.plane.want(node.desired(1))
    node.start()
    node.wait_phase(1, "ready")
    report = wait_until(
        lambda: (last := node.plane.seen.syncs[-1].report).problems and last, 10, "the node reports the problem"
    )
    assert not report.gateway_up
    assert taken in report.problems[0]


def test_bad_input_is_explained_in_one_sentence(node: AgentNode) -> None:
    broken = node.home / "broken.json"
    broken.write_text('{"token": "secret-token"}')
    options = ("--name", "n", "--gateway-listen", "127.0.0.1:1", "--slots", "1")
    cases = {
        ("enroll", "--data", node.home / "other", "--enrolment", broken, *options): "must be JSON",
        ("enroll", "--data", node.home / "other", "--enrolment", node.home / "none", *options): "cannot be read",
        ("run", "--data", node.home / "other"): "no enrolled node",
        ("processes", "--data", node.home / "nowhere", "--json"): "holds no agent",
    }
    for arguments, sentence in cases.items():
        done = node.cli(*arguments)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert "secret-token" not in done.stderr + done.stdout
