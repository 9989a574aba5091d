"""The life of assignments under everything that nodes, users and operators do, with a model of what really runs.

Nodes obey what they are told, as soon as they hear it. A node that is out of touch runs on, except that its watchdog
ends terminals that fence themselves. Operators only declare dead what is dead.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from control_plane.assignments.model import Assignment
from control_plane.fleet import repository
from node_agent.protocol.messages import DesiredTerminal, ObservedTerminal, Phase
from tests.unit.control_plane.world import NodePlayer, World, build_world, observed, report

FENCE_SECONDS = 240.0
LOGINS = (5001, 5002, 5003)


class Machine:
    """A node with what runs on it."""

    def __init__(self, player: NodePlayer) -> None:
        self.player = player
        player.report = report(watchdog_up=True)
        self.running: dict[str, DesiredTerminal] = {}
        self.connected = True
        self.heard_at = player.farm.clock.now()
        self.flat = True

    def sync(self) -> None:
        if not self.connected:
            return
        self.heard_at = self.player.farm.clock.now()
        self.player.sync(*self._report())
        wanted = {each.terminal_id: each for each in self.player.desired if each.running}
        self.running = dict(wanted)

    def _report(self) -> list[ObservedTerminal]:
        told = [
            observed(each, flat=self.flat, epoch=self.running[each.terminal_id].epoch)
            if each.terminal_id in self.running
            else observed(each, phase=Phase.STOPPED)
            for each in self.player.desired
        ]
        names = {each.terminal_id for each in self.player.desired}
        return told + [observed(each) for each in self.running.values() if each.terminal_id not in names]

    def watch(self) -> None:
        """The watchdog."""
        out_of_touch = (self.player.farm.clock.now() - self.heard_at).total_seconds()
        if out_of_touch >= FENCE_SECONDS:
            self.running = {name: each for name, each in self.running.items() if each.lease_policy != "self_fence"}

    def lose_power(self) -> None:
        self.connected = False
        self.running = {}
        self.player.desired = []
        self.player.generation = 0


class AssignmentMachine(RuleBasedStateMachine):
    template: Path

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="m5", dir="/tmp"))
        shutil.copytree(self.template, self.folder / "farm")
        self.world: World = build_world(self.folder / "farm")
        self.machines = [Machine(self.world.node(name=f"node-{number}", slots=2)) for number in range(3)]
        self.users = [self.world.trader(f"user{number}@example.com") for number in range(2)]
        self.operator = self.world.operator()
        self.accounts: list[tuple[int, str]] = []
        self.epochs: dict[str, int] = {}

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.farm.stop()
            shutil.rmtree(self.folder)

    @rule(user=st.integers(0, 1), login=st.sampled_from(LOGINS))
    def connect(self, user: int, login: int) -> None:
        body = {"label": "a", "login": login, "password": "p", "server": "MT5Farm-Demo"}
        response = self.users[user].request("POST", "/accounts", body)
        if response.status_code == 201:
            self.accounts.append((user, response.json()["id"]))

    @precondition(lambda self: self.accounts)
    @rule(data=st.data(), verb=st.sampled_from(["deploy", "undeploy", "remove", "self_fence", "keep_running"]))
    def change_mind(self, data: st.DataObject, verb: str) -> None:
        user, account = data.draw(st.sampled_from(self.accounts))
        if verb == "remove":
            self.users[user].call("DELETE", f"/accounts/{account}", 202)
            self.accounts.remove((user, account))
        elif verb in {"deploy", "undeploy"}:
            self.users[user].call("POST", f"/accounts/{account}/{verb}", 202)
        else:
            self.users[user].call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": verb})

    @rule(minutes=st.sampled_from([0.5, 1, 6]))
    def pass_time(self, minutes: float) -> None:
        for _ in range(int(minutes * 2)):
            self.world.clock.advance(seconds=30)
            for machine in self.machines:
                machine.watch()
                machine.sync()
            self.world.run_loops()
            self.nothing_runs_twice()

    @rule(number=st.integers(0, 2))
    def cut_off(self, number: int) -> None:
        self.machines[number].connected = False

    @rule(number=st.integers(0, 2))
    def come_back(self, number: int) -> None:
        self.machines[number].connected = True

    @rule(number=st.integers(0, 2), flat=st.booleans())
    def trade(self, number: int, flat: bool) -> None:
        self.machines[number].flat = flat

    @rule(
        number=st.integers(0, 2),
        deed=st.sampled_from(["cordon", "uncordon", "drain", "cancel-drain", "confirm-dead", "move"]),
    )
    def operate(self, number: int, deed: str) -> None:
        machine = self.machines[number]
        path = f"/nodes/{machine.player.node_id}/{deed}"
        body: dict[str, object] = {"reason": "for a test"}
        if deed == "confirm-dead":
            machine.lose_power()
        if deed == "drain":
            body["within_seconds"] = 60
        if deed == "move":
            terminals = self.operator.call("GET", f"/nodes/{machine.player.node_id}")["terminals"]
            if not terminals:
                return
            path = f"/nodes/{machine.player.node_id}/terminals/{terminals[0]['terminal_id']}/move"
        assert self.operator.request("POST", path, body).status_code in {200, 202, 409}

    @invariant()
    def nothing_runs_twice(self) -> None:
        """One login never trades from two places."""
        if not hasattr(self, "world"):
            return
        logins = [each.login for machine in self.machines for each in machine.running.values()]
        assert len(logins) == len(set(logins)), logins

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "world"):
            return
        with self.world.farm.database.read_as_system() as session:
            rows = list(session.scalars(select(Assignment).order_by(Assignment.epoch)))
            for node_id, used in repository.used_slots(session).items():
                assert used <= 2, node_id
        highest: dict[str, int] = {}
        for row in rows:
            assert row.epoch == highest.get(row.terminal_id, 0) + 1, "epochs rise one by one"
            highest[row.terminal_id] = row.epoch
            assert (row.released_at is None) == (row.state != "released")
            assert (row.ended_by == "") == (row.released_at is None)
        living = [row.terminal_id for row in rows if row.released_at is None]
        assert len(living) == len(set(living))
        assert all(highest.get(name, 0) >= epoch for name, epoch in self.epochs.items())
        self.epochs = highest


def test_assignments_stay_sound_whatever_happens(first_start: Path) -> None:
    AssignmentMachine.template = first_start
    run_state_machine_as_test(
        AssignmentMachine,
        settings=settings(
            max_examples=8,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
