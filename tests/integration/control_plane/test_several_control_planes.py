"""Several control planes of one farm at once: each decision is taken once, and nothing is done twice or lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from control_plane.audit.service import Deed
from control_plane.audit.verification import Verdict, verify_database
from control_plane.container import Farm
from control_plane.errors import FarmError
from control_plane.fleet import repository
from control_plane.identity.model import Tenant
from control_plane.identity.second_factor import Shown
from control_plane.identity.sessions import Browser
from node_agent.protocol.messages import DesiredTerminal
from tests.deployments import Deployment
from tests.unit.control_plane.world import PASSWORD, NodePlayer, Trader, World, build_world, report

pytestmark = pytest.mark.both_databases
ROUNDS = 6


@pytest.fixture
def world(deployment: Deployment, tmp_path: Path) -> Iterator[World]:
    with deployment.world(tmp_path / "farm") as made:
        yield made


@pytest.fixture
def second(world: World, deployment: Deployment) -> Iterator[World]:
    """Another control plane of the same farm."""
    made = build_world(world.data, **deployment.settings)
    yield made
    made.farm.stop()


def at_once(*steps: Callable[[], object]) -> None:
    """All in threads of their own. What loses a race is rolled back, and would be tried again."""
    ready = threading.Barrier(len(steps))
    failures: list[BaseException] = []

    def run(step: Callable[[], object]) -> None:
        ready.wait()
        try:
            step()
        except DBAPIError:
            pass
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def step(world: World, name: str) -> Callable[[], object]:
    return next(loop.step for loop in world.farm.loops if loop.name == name)


def guarded(world: World, trader: Trader, name: str, login: int) -> tuple[NodePlayer, DesiredTerminal]:
    """A node with a watchdog and one terminal that fences itself."""
    node = world.node(name=name, slots=1)
    node.report = report(watchdog_up=True)
    node.sync()
    account = trader.connect(login)["id"]
    trader.call("PUT", f"/accounts/{account}/lease-policy", 200, {"policy": "self_fence"})
    world.run_loops()
    node.fetch()
    node.obey()
    return node, node.desired[0]


def test_deeds_of_two_control_planes_form_one_chain(world: World, second: World) -> None:
    """Also when the chain is not there yet, and when each deed touches rows that the other one holds."""

    def record(each: World, tenants: list[str]) -> None:
        for number in range(10):
            with each.farm.database.write_as_system() as session:
                for tenant in tenants:
                    each.farm.audit.record(session, tenant, Deed("me", "try", str(number), ""))

    with world.farm.database.write_as_system() as session:
        for tenant in ("ten_a", "ten_b"):
            session.add(Tenant(id=tenant, kind="broker", name=tenant, created_at=world.clock.now()))
    at_once(
        lambda: record(world, ["ten_a", "ten_b"]),
        lambda: record(second, ["ten_b", "ten_a"]),
        lambda: record(world, ["ten_b"]),
    )
    world.run_loops()
    with world.farm.database.read_as_system() as session:
        assert verify_database(session, world.farm.head_keeper.kept(), world.farm.audit_key) == Verdict(50, ())


def test_keys_are_replaced_while_another_control_plane_writes(world: World, second: World) -> None:
    traders = [world.trader(), second.trader("other@example.com")]
    accounts = [(trader, trader.connect(5000 + number)["id"]) for number in range(8) for trader in traders]

    def rotate() -> None:
        world.farm.rotation.start_data_key_rotation()
        world.farm.rotation.reseal(lambda _count: None)

    def write() -> None:
        for trader, account in accounts[::2]:
            trader.call("PUT", f"/accounts/{account}/credentials", 202, {"password": "new"})

    for _ in range(3):
        at_once(rotate, write)
    rotate()
    with second.farm.database.read_as_system() as session:
        tenant = traders[0].user["tenant_id"]
        found = [second.farm.vault.open_credentials(session, tenant, account).password for _, account in accounts]
    assert found == ["new", "broker-secret"] * 8
    assert world.farm.rotation.progress().sealed_with_older_keys == 0


def test_a_lost_node_is_relieved_and_comes_back(world: World) -> None:
    trader = world.trader()
    node, wanted = guarded(world, trader, "guarded", 5001)
    spare = world.node(name="spare")
    world.let_pass(390, spare)
    assert [(each.epoch, each.ended_by) for each in world.assignments(wanted.terminal_id)] == [
        (1, "self_fenced"),
        (2, ""),
    ]
    node.make_ready(wanted)
    assert node.desired == []
    operator = world.operator()
    assert [each["strays"] for each in operator.call("GET", "/nodes")["items"]] == [1, 0]


def test_a_node_is_drained(world: World) -> None:
    trader = world.trader()
    node, wanted = guarded(world, trader, "full", 5001)
    spare = world.node(name="spare")
    world.operator().call("POST", f"/nodes/{node.node_id}/drain", 202, {"reason": "new disk"})
    world.let_pass(120, node, spare)
    assert [each.ended_by for each in world.assignments(wanted.terminal_id)] == ["confirmed", ""]


def test_two_control_planes_never_give_a_slot_or_a_terminal_away_twice(world: World, second: World) -> None:
    trader = world.trader()
    nodes = [world.node(name=f"node-{number}", slots=2) for number in range(2)]
    accounts = [trader.connect(5000 + number)["id"] for number in range(6)]
    for _ in range(ROUNDS):
        at_once(*(step(each, "placement") for each in (world, second, world, second)))
        with world.farm.database.read_as_system() as session:
            assert all(used <= 2 for used in repository.used_slots(session).values())
    held = [each.account_id for node in nodes for each in node.fetch().terminals]
    assert len(held) == len(set(held)) == 4
    assert set(held) <= set(accounts)


def test_a_node_that_comes_back_while_it_is_given_up_has_its_terminal_or_has_lost_it(world: World) -> None:
    node, wanted = guarded(world, world.trader(), "guarded", 5001)
    outcomes = set()
    for epoch in range(1, ROUNDS + 1):
        world.let_pass(300)
        world.clock.advance(seconds=14)
        step(world, "node-leases")()
        at_once(node.obey, step(world, "relocation"))
        row = world.assignments(wanted.terminal_id)[-1]
        outcomes.add((row.state, row.ended_by, row.released_at is None))
        if row.released_at is not None:
            assert row.epoch <= epoch
            node.sync()
            assert node.desired == []
        world.let_pass(60, node)
    assert outcomes <= {("active", "", True), ("released", "self_fenced", False)}


def test_guesses_at_several_control_planes_at_once_are_counted_one_by_one(world: World, second: World) -> None:
    trader = world.trader()
    answers: list[str] = []

    def guess(farm: Farm) -> Callable[[], None]:
        def attempt() -> None:
            try:
                farm.identity.sign_in(trader.email, "guess", Browser())
            except FarmError as error:
                answers.append(error.code)

        return attempt

    at_once(*(guess(each.farm) for each in (world, second) * 5))
    assert sorted(answers) == ["bad_sign_in"] * 5 + ["too_many_attempts"] * 5


def test_a_code_is_taken_by_one_of_two_who_show_it_at_once(world: World, second: World) -> None:
    trader = world.trader()
    trader.enrol_second_factor()
    world.clock.advance(seconds=30)
    second.clock.advance(seconds=30)
    code, entered = trader.code(), []

    def show(farm: Farm) -> Callable[[], None]:
        def attempt() -> None:
            with suppress(FarmError):
                entered.append(farm.identity.sign_in(trader.email, PASSWORD, Browser(), Shown(code)))

        return attempt

    at_once(show(world.farm), show(second.farm))
    assert len(entered) == 1
