"""Several control planes place at once on one database: no node above its slots, no login twice, nobody forgotten."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from control_plane.accounts.model import Account
from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.model import Assignment
from control_plane.brokers.model import BrokerServer
from control_plane.config import Settings
from control_plane.container import Farm, build_farm
from control_plane.fleet import repository
from control_plane.fleet.model import Node
from control_plane.identity.model import Tenant, User
from control_plane.placement.service import Placing
from control_plane.reconcile.placement import Placement
from control_plane.terminals.model import Terminal
from control_plane.vault.trials import LoginTrials
from tests.postgres import APPLICATION, Server

PLANES, NODES, SLOTS = 4, 12, 3
TENANTS = ("ten_a", "ten_b")


@pytest.fixture(params=["sqlite", "postgres"])
def planes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Farm]]:
    """Control planes on one database, none of whose loops runs."""
    with ExitStack() as ends:
        url = None
        if request.param == "postgres":
            server: Server = request.getfixturevalue("postgres_server")
            name = server.migrated_database()
            ends.callback(server.drop, name)
            url = server.url(APPLICATION, name)
        farms = []
        for _ in range(PLANES):
            farms.append(build_farm(Settings(data=tmp_path / "farm", database_url=url)))
            ends.callback(farms[-1].stop)
        _fill(farms[0])
        yield farms


def _fill(farm: Farm) -> None:
    """Every third node is one tenant's own."""
    now = farm.clock.now()
    common = {"state": "online", "identity_key": "", "sealing_key": "", "gateway_address": "h:1", "platform": "linux"}
    moments = {"enrolled_at": now, "identity_expires_at": now, "last_seen_at": now}
    counters = {"boot_id": "", "superseded_boot_id": "", "sequence": 0, "generation": 1, "report": {}}
    with farm.database.write_as_system() as session:
        operator = farm.identity.bootstrap(session).id
        for tenant in TENANTS:
            session.add(Tenant(id=tenant, kind="broker", name=tenant, created_at=now))
        session.add(BrokerServer(name="Demo", company="Demo", simulated_address="127.0.0.1:1", updated_at=now))
        session.flush()
        for number in range(NODES):
            own = {"dedicated_tenant_id": TENANTS[0] if number % 3 == 0 else None}
            node = {"id": f"nod_{number:04}", "tenant_id": operator, "name": str(number), "runtimes": ["simulated"]}
            session.add(Node(**node, **own, **common, **moments, **counters, slots=SLOTS))
        for tenant in TENANTS:
            user = {"id": f"usr_{tenant}", "email": f"{tenant}@example.com", "display_name": "a", "role": "trader"}
            session.add(User(**user, tenant_id=tenant, password_hash="", created_at=now))


def add_terminals(farm: Farm, tenant: str, logins: range) -> None:
    """Terminals that wait, one for each login."""
    now = farm.clock.now()
    with farm.database.write_as_system() as session:
        ids = [f"{tenant}_{login}" for login in logins]
        owner = {"tenant_id": tenant, "created_at": now}
        accounts = [
            {**owner, "id": f"acc_{name}", "user_id": f"usr_{tenant}", "label": "a", "server": "Demo", "login": login}
            for name, login in zip(ids, logins, strict=True)
        ]
        wish = {"intent": "running", "hold": "none", "last_epoch": 0, "placement_note": "", "changed_at": now}
        session.execute(insert(Account), accounts)
        terminals = [{**owner, **wish, "id": f"ter_{name}", "account_id": f"acc_{name}"} for name in ids]
        session.execute(insert(Terminal), [{**each, "wanted_labels": {}} for each in terminals])


def at_once(*steps: Callable[[], object]) -> None:
    ready = threading.Barrier(len(steps))
    failures: list[BaseException] = []

    def run(step: Callable[[], object]) -> None:
        ready.wait()
        try:
            step()
        except BaseException as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=run, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def placing(farm: Farm) -> Callable[[], None]:
    """Few in one transaction, so that control planes come between each other's often."""
    trials = LoginTrials(farm.settings, farm.clock)
    return Placement(farm.database, Placing(farm.fleet, trials, farm.bus, farm.clock), at_once=3).run_once


def living(farm: Farm) -> list[tuple[Assignment, int]]:
    """Every place that is taken, with the login of its terminal."""
    query = (
        select(Assignment, Account.login)
        .join(Terminal, Terminal.id == Assignment.terminal_id)
        .join(Account, Account.id == Terminal.account_id)
        .where(Assignment.released_at.is_(None))
    )
    with farm.database.read_as_system() as session:
        return [(assignment, login) for assignment, login in session.execute(query)]


def check(farm: Farm) -> int:
    """What must hold at any moment; how many places are taken."""
    places = living(farm)
    assert max(Counter(each.node_id for each, _ in places).values(), default=0) <= SLOTS
    assert max(Counter(login for _, login in places).values(), default=0) <= 1, "one login, one terminal"
    for each, _ in places:
        assert int(each.node_id[-4:]) % 3 or each.tenant_id == TENANTS[0], "a foreign terminal on a dedicated node"
        assert each.explanation is not None
    return len(places)


def test_more_terminals_than_slots_fill_every_slot_and_none_twice(planes: list[Farm]) -> None:
    add_terminals(planes[0], TENANTS[0], range(1, 31))
    add_terminals(planes[0], TENANTS[1], range(101, 131))
    at_once(*(placing(each) for each in planes))
    assert check(planes[0]) == NODES * SLOTS


def test_one_login_of_two_people_gets_one_place(planes: list[Farm]) -> None:
    """Each is claimed by another control plane, and neither sees the other's place before it is committed."""
    for tenant in TENANTS:
        add_terminals(planes[0], tenant, range(1, 16))
    at_once(*(placing(each) for each in planes))
    assert check(planes[0]) == 15


def test_nothing_is_overfilled_while_operators_change_their_minds(planes: list[Farm]) -> None:
    """Seeded steps: places are given while others are released and nodes are closed and opened."""
    choice = random.Random(7)
    for step in range(8):
        add_terminals(planes[0], TENANTS[step % 2], range(step * 100, step * 100 + 12))
        closed = f"nod_{choice.randrange(NODES):04}"
        wishes = [placing(each) for each in planes]
        at_once(*wishes[:3], partial(_close, planes[3], closed))
        taken = check(planes[0])
        assert taken > 0
        for each, _ in choice.sample(living(planes[0]), k=min(4, taken)):
            _release(planes[1], each.terminal_id)
        _open_all(planes[2])
    at_once(*(placing(each) for each in planes))
    assert check(planes[0]) == NODES * SLOTS


def _close(farm: Farm, node_id: str) -> None:
    """Held as an operator holds it, so that no place comes to it after that."""
    with farm.database.write_as_system() as session:
        node = repository.lock_node(session, node_id)
        assert node is not None
        node.availability = "cordoned"
    held = sum(each.node_id == node_id for each, _ in living(farm))
    placing(farm)()
    assert sum(each.node_id == node_id for each, _ in living(farm)) == held


def _open_all(farm: Farm) -> None:
    with farm.database.write_as_system() as session:
        session.execute(update(Node).values(availability="open"))


def _release(farm: Farm, terminal_id: str) -> None:
    with farm.database.write_as_system() as session:
        placement = assignments_repository.of_terminal(session, terminal_id)
        assert placement is not None
        placement.terminal.intent = "stopped"
        farm.assignments.release(session, placement)
