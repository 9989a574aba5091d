"""Terminals as Windows users of their own, on the double of Windows: what Wine cannot show."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.process import is_alive
from node_agent.protocol.messages import Reason
from node_agent.runtimes.base import LaunchError
from node_agent.windows import isolation
from node_agent.windows.engine import JOB, ORDERS, TASK, USER, JobEngine
from node_agent.windows.orders import ANSWER_SUFFIX, Answer, answer_to_text
from node_agent.windows.port import JobLimits, ProcessKey
from node_agent.windows.starter import take_orders
from tests.conformance.windows.node import CREDENTIALS, Node
from tests.conformance.windows.waiting import eventually
from tests.windows_double import OWNER, FakeWindows

PROGRAM = "#!/bin/sh\ntrap 'exit 0' TERM\ntouch seen.txt\nwhile :; do sleep 0.05; done\n"


class Machine(FakeWindows):
    """Whose scheduler runs the starter, in this process."""

    def __init__(self, data: Path) -> None:
        super().__init__()
        self._data = data
        self.on_task = self._run_starter

    def _run_starter(self, path: str) -> None:
        take_orders(self, next(self._data.glob("terminals/*/orders")))


@pytest.fixture
def windows(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "data")


@pytest.fixture
def node(windows: Machine, tmp_path: Path) -> Iterator[Node]:
    template = tmp_path / "template"
    template.mkdir()
    (template / "terminal64.exe").write_text(PROGRAM)
    (template / "terminal64.exe").chmod(0o755)
    node = Node.open(windows, tmp_path / "data", template, own_users=True)
    yield node
    windows.refused.clear()
    node.runtime.destroy(node.spec)
    node.close()


def test_each_terminal_has_a_user_of_the_farm_s_group(windows: Machine, node: Node) -> None:
    node.prepare_and_start()
    ((name, (_, groups)),) = windows.users.items()
    assert name == isolation.user_name(node.spec.layout.root)
    assert groups == ("mt5farm-terminals",)


def test_the_user_s_password_is_sealed_and_nowhere_else(windows: Machine, node: Node) -> None:
    node.prepare_and_start()
    ((password, _),) = windows.users.values()
    ((xml, _, given_password),) = windows.tasks.values()
    assert given_password == password
    assert password not in xml
    sealed = node.layout.root / "users" / node.spec.terminal_id / "password"
    assert windows.unprotect(sealed.read_bytes()).decode() == password
    assert not any(place in sealed.parents for place in windows.given_rights), "the terminal's user cannot reach it"
    commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    for path in node.layout.root.rglob("*"):
        assert path.is_dir() or password.encode() not in path.read_bytes()
    assert password not in commands


def test_the_password_is_made_once(windows: Machine, node: Node) -> None:
    node.prepare_and_start()
    before = dict(windows.users)
    node.runtime.stop(node.spec, 5.0)
    node.prepare_and_start()
    assert windows.users == before


def test_rights_leave_the_programs_to_the_agent_and_the_data_to_the_terminal(windows: Machine, node: Node) -> None:
    node.prepare_and_start()
    layout, user = node.spec.layout, "S-1-5-21-1-1-1-1000"
    assert windows.given_rights[layout.root] == isolation.shared_rights(OWNER, user)
    assert windows.given_rights[layout.folder] == isolation.program_rights(OWNER, user)
    assert windows.given_rights[layout.folder / "MQL5"] == isolation.shared_rights(OWNER, user)
    assert windows.given_rights[layout.folder / "config"] == isolation.shared_rights(OWNER, user)
    assert windows.given_rights[layout.folder / "liveupdate"] == isolation.closed_rights(OWNER)
    assert windows.given_rights[layout.folder / "WebInstall"] == isolation.closed_rights(OWNER)


def test_programs_are_started_by_the_task_in_the_user_s_session(windows: Machine, node: Node) -> None:
    windows.sessions[isolation.user_name(node.spec.layout.root)] = 3
    node.prepare_and_start()
    path = isolation.task_path(node.spec.layout.root)
    assert windows.ran == [(path, 3)]
    handle = node.runtime.inspect(node.spec)
    assert handle is not None
    assert handle.facts[TASK] == path
    assert handle.facts[USER] == isolation.user_name(node.spec.layout.root)
    assert list(Path(handle.facts[ORDERS]).iterdir()) == []


def test_a_window_in_another_session_is_asked_there(windows: Machine, node: Node) -> None:
    node.prepare_and_start()
    eventually(node.seen.exists)
    handle = node.runtime.inspect(node.spec)
    assert handle is not None
    started = len(windows.ran)
    node.runtime.stop(node.spec, 10.0)
    assert len(windows.ran) == started + 1
    assert not is_alive(handle)
    assert JobEngine(windows).ending(handle).code == 0


def test_a_scheduler_that_fails_costs_no_more_than_the_polite_end(windows: Machine, node: Node) -> None:
    node.prepare_and_start()
    handle = node.runtime.inspect(node.spec)
    assert handle is not None
    windows.refused["run_task"] = 0x80070005
    node.runtime.stop(node.spec, 10.0)
    assert not is_alive(handle)


def test_a_terminal_s_user_cannot_pass_a_foreign_process_off_as_the_terminal(windows: Machine, node: Node) -> None:
    node.runtime.prepare(node.spec, CREDENTIALS)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        key = windows.key_of(stranger.pid)
        orders = node.spec.layout.root / "orders"

        def lie(_: str) -> None:
            order = next(orders.glob("*.order"))
            order.with_suffix(ANSWER_SUFFIX).write_text(answer_to_text(Answer(key)))

        windows.on_task = lie
        with pytest.raises(LaunchError):
            node.runtime.start(node.spec)
        assert node.runtime.inspect(node.spec) is None
        stranger.kill()


def test_a_folder_that_the_terminal_has_turned_into_a_link_is_not_followed(
    windows: Machine, node: Node, tmp_path: Path
) -> None:
    node.runtime.prepare(node.spec, CREDENTIALS)
    config = node.spec.layout.folder / "config"
    elsewhere = tmp_path / "elsewhere"
    config.rename(elsewhere)
    config.symlink_to(elsewhere)
    (elsewhere / "startup.ini").unlink()
    with pytest.raises(LaunchError):
        node.runtime.prepare(node.spec, CREDENTIALS)
    assert not (elsewhere / "startup.ini").exists()


@pytest.mark.parametrize("call", ["ensure_user", "make_job", "run_task"])
def test_what_windows_refuses_is_a_reason_and_starts_nothing(windows: Machine, node: Node, call: str) -> None:
    windows.refused[call] = 5
    with pytest.raises(LaunchError) as refused:
        node.prepare_and_start()
    assert refused.value.reason is Reason.TEMPLATE_BROKEN
    assert CREDENTIALS.password not in str(refused.value)
    assert node.runtime.inspect(node.spec) is None


def test_an_end_at_the_memory_limit_is_told(windows: Machine, node: Node) -> None:
    node.prepare_and_start()
    handle = node.runtime.inspect(node.spec)
    assert handle is not None
    limits = windows.job_limits(handle.facts[JOB])
    assert limits == JobLimits(memory=256 << 20, processes=8)
    windows.peak_memory = 256 << 20
    windows.terminate(ProcessKey(handle.pid, int(handle.facts["created"])))
    eventually(lambda: not is_alive(handle))
    eventually(lambda: windows.exit_code(ProcessKey(handle.pid, int(handle.facts["created"]))) is not None)
    (ended,) = node.roster.exits()
    assert (ended.code, ended.out_of_memory) == (1, True)


def test_user_and_task_go_with_the_terminal(windows: Machine, node: Node) -> None:
    node.prepare_and_start()
    node.runtime.stop(node.spec, 5.0)
    node.runtime.destroy(node.spec)
    assert windows.users == {}
    assert windows.tasks == {}
    assert not node.spec.layout.root.exists()
