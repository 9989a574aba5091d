"""The contract of runtimes, case by case; what `node_agent/runtimes/base.py` promises is proven on each of them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from node_agent.handles import handle_to_data
from node_agent.process import Role, Slot, is_alive
from node_agent.protocol.messages import Reason
from node_agent.protocol.sealing import Credentials
from node_agent.runtimes.base import LaunchError, Usage
from node_agent.runtimes.installed import kill
from tests.conformance.runtimes.stage import LOGIN, SERVER, Stage, desired, refusal, secret

GRACE = 5.0


def test_a_started_terminal_runs_and_is_recorded(stage: Stage) -> None:
    spec = stage.spec()
    assert stage.runtime.inspect(spec) is None
    spec, handle = stage.start()
    assert is_alive(handle)
    assert handle.fingerprint == "print"
    assert stage.runtime.inspect(spec) == handle
    stage.restart_agent()
    assert stage.runtime.inspect(spec) == handle, "the next agent finds it by its record"


def test_it_can_be_prepared_again_and_again(stage: Stage) -> None:
    spec = stage.spec()
    for password in ("one", "two"):
        stage.runtime.prepare(spec, Credentials(login=LOGIN, password=password, server=SERVER))
    assert b"two" in spec.layout.startup.read_bytes()
    assert b"one" not in spec.layout.startup.read_bytes()


def test_credentials_are_in_one_private_file_and_nowhere_else(stage: Stage) -> None:
    password = secret()
    spec, handle = stage.start(password=password)
    startup = spec.layout.startup
    assert stat.S_IMODE(startup.stat().st_mode) == 0o600
    assert password not in stage.driver.outside(spec, handle)
    holders = [path for path in stage.layout.root.rglob("*") if _holds(path, password)]
    assert holders == [startup]
    stage.runtime.forget_credentials(spec)
    stage.runtime.forget_credentials(spec)
    assert [path for path in stage.layout.root.rglob("*") if _holds(path, password)] == []
    assert is_alive(handle), "the terminal has read it"


@pytest.mark.parametrize("password", ["line\nbreak", "nul\0"])
def test_a_password_that_mt5_cannot_take_is_refused(stage: Stage, password: str) -> None:
    with pytest.raises(LaunchError) as refused:
        stage.runtime.prepare(stage.spec(), Credentials(login=LOGIN, password=password, server=SERVER))
    assert refused.value.reason is Reason.BAD_CREDENTIALS
    assert password not in str(refused.value)


def test_what_cannot_start_says_why_and_leaves_nothing_running(stage: Stage) -> None:
    spec = stage.driver.spoil(stage.spec())
    prepared = refusal(lambda: stage.runtime.prepare(spec, Credentials(login=LOGIN, password="p", server=SERVER)))
    failed = prepared or refusal(lambda: stage.runtime.start(spec))
    assert failed is not None
    assert failed.reason is Reason.TEMPLATE_BROKEN
    assert str(failed).endswith(".")
    assert stage.runtime.inspect(spec) is None
    spec.layout.folder.unlink() if spec.layout.folder.is_file() else None


def test_it_ends_when_it_is_asked_to_and_takes_its_credentials_along(stage: Stage) -> None:
    spec, handle = stage.start()
    stage.runtime.stop(spec, GRACE)
    assert not is_alive(handle)
    assert stage.runtime.inspect(spec) is None
    assert not spec.layout.startup.exists()
    assert stage.roster.exits() == [], "a wanted end is no exit"
    stage.runtime.stop(spec, GRACE)


def test_one_that_does_not_listen_is_forced(stage: Stage) -> None:
    spec, handle = stage.start()
    stage.driver.refuse_to_end(spec, handle)
    stage.runtime.stop(spec, 0.5)
    assert not is_alive(handle)


def test_it_can_be_killed_from_its_handle_alone(stage: Stage) -> None:
    spec, handle = stage.start()
    kill(handle_to_data(handle))
    assert not is_alive(handle)
    kill(handle_to_data(handle))
    assert stage.runtime.inspect(spec) is None


def test_an_end_of_its_own_is_told_once_with_its_code(stage: Stage) -> None:
    spec, handle = stage.start()
    code = stage.driver.break_down(spec, handle)
    [ended] = stage.until(stage.roster.exits, "its end is told")
    assert (ended.handle, ended.code, ended.out_of_memory) == (handle, code, False)
    assert stage.roster.exits() == []


def test_it_starts_again_after_any_end(stage: Stage) -> None:
    spec, first = stage.start()
    stage.driver.break_down(spec, first)
    stage.until(stage.roster.exits, "its end is told")
    _, second = stage.start()
    stage.runtime.stop(spec, GRACE)
    _, third = stage.start()
    assert len({(each.pid, each.birth) for each in (first, second, third)}) == 3
    assert stage.runtime.inspect(spec) == third


def test_terminals_do_not_touch_each_other(stage: Stage) -> None:
    one, first = stage.start(1)
    two, second = stage.start(2)
    stage.runtime.stop(one, GRACE)
    stage.runtime.destroy(one)
    assert not is_alive(first)
    assert stage.runtime.inspect(two) == second


def test_nothing_is_left_of_a_destroyed_one(stage: Stage) -> None:
    spec, _ = stage.start()
    stage.start_worker(spec)
    stage.roster.stop(Slot(Role.WORKER, spec.terminal_id), GRACE)
    stage.runtime.stop(spec, GRACE)
    stage.runtime.destroy(spec)
    assert not spec.layout.root.exists()
    assert list(stage.layout.run.iterdir()) == []
    stage.runtime.destroy(spec)


def test_what_was_started_and_never_recorded_is_found(stage: Stage) -> None:
    spec, terminal = stage.start()
    worker = stage.start_worker(spec)
    assert stage.runtime.recover([spec]) == [], "nothing is missing yet"
    stage.lose_handles()
    found = {handle.slot.role: handle for handle in stage.runtime.recover([spec, stage.spec(2)])}
    assert {role: (handle.pid, handle.birth, handle.kind) for role, handle in found.items()} == {
        Role.TERMINAL: (terminal.pid, terminal.birth, terminal.kind),
        Role.WORKER: (worker.pid, worker.birth, worker.kind),
    }
    assert stage.runtime.inspect(spec) == found[Role.TERMINAL]
    stage.roster.kill(Slot(Role.WORKER, spec.terminal_id))
    assert not is_alive(worker), "and it is in hand"
    stage.bridge_is_gone(spec)


def test_a_worker_serves_beside_its_terminal_and_is_ended_alone(stage: Stage) -> None:
    spec, terminal = stage.start()
    first = stage.start_worker(spec)
    assert stage.worker(spec) == first
    bridge = stage.bridge(spec)
    assert bridge.describe()["terminal_id"] == spec.terminal_id
    bridge.close()
    stage.roster.kill(first.slot)
    assert is_alive(terminal)
    assert stage.roster.exits() == []
    second = stage.start_worker(spec, "another-print")
    assert (second.fingerprint, second.pid == first.pid) == ("another-print", False)
    stage.bridge(spec).close()
    stage.roster.stop(second.slot, GRACE)
    assert not is_alive(second)
    assert is_alive(terminal)


def test_the_death_of_a_worker_is_told_and_its_terminal_lives(stage: Stage) -> None:
    spec, terminal = stage.start()
    worker = stage.start_worker(spec)
    kill(handle_to_data(worker))
    [ended] = stage.until(stage.roster.exits, "its end is told")
    assert (ended.handle, ended.code) == (worker, stage.driver.killed)
    assert stage.runtime.inspect(spec) == terminal


def test_the_worker_says_what_the_terminal_says(stage: Stage) -> None:
    """No terminal here is logged in to a broker, and none pretends to be."""
    spec, _ = stage.start()
    stage.start_worker(spec)
    bridge = stage.bridge(spec)
    facts = bridge.describe()
    assert (facts["linked"], facts["error_code"]) != (True, 1)
    assert facts["error_code"] < 0
    bridge.close()


def test_its_use_of_the_machine_is_measured(stage: Stage) -> None:
    spec, _ = stage.start()

    def grown() -> Usage | None:
        seen = stage.runtime.stats(spec)
        return seen if seen is not None and seen.memory > 1_000_000 else None

    usage = stage.until(grown, "it is measured")
    assert usage.memory < 2_000_000_000
    assert usage.cpu_seconds >= 0
    assert usage.processes >= 1
    stage.runtime.stop(spec, GRACE)
    assert stage.runtime.stats(spec) is None


def test_more_memory_than_allowed_ends_it_and_is_told(stage: Stage) -> None:
    if not stage.runtime.capabilities.memory_limit:
        assert stage.driver.name == "simulated", "only simulated terminals may do without"
        return
    spec, handle = stage.start()
    stage.driver.eat_memory(spec)
    stage.until(lambda: not is_alive(handle), "it is ended", 30.0)
    [ended] = stage.roster.exits()
    assert ended.out_of_memory


def test_a_worker_without_its_terminal_waits_or_is_refused_with_a_reason(stage: Stage) -> None:
    spec = stage.spec()
    stage.runtime.prepare(spec, Credentials(login=LOGIN, password="p", server=SERVER))
    refused = refusal(lambda: stage.start_worker(spec))
    if refused is not None:
        assert refused.reason is Reason.PROCESS_EXIT
        assert stage.worker(spec) is None
    else:
        assert stage.worker(spec) is not None
        assert not stage.bridge(spec).describe()["linked"]


def test_the_worker_is_told_everything_by_files_it_can_read(stage: Stage) -> None:
    spec, _ = stage.start()
    stage.start_worker(spec)
    seat = stage.runtime.worker_seat(spec)
    assert desired(spec).terminal_id in spec.layout.worker_config.read_text()
    assert seat.inside(spec.layout.token) in spec.layout.worker_config.read_text()
    assert stat.S_IMODE(spec.layout.token.stat().st_mode) & 0o007 == 0, "but strangers cannot"


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes()
