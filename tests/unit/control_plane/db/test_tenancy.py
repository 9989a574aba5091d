"""A transaction in a tenant's name sees and touches its rows only, however its queries are written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Select, bindparam, delete, exists, func, select, union_all, update
from sqlalchemy.orm import Session, aliased

import control_plane
from control_plane.accounts.model import Account
from control_plane.audit.model import AuditEntry
from control_plane.db.base import Base, TenantRow
from control_plane.db.tables import MODULES
from control_plane.db.tenancy import ForeignRowError, as_system, lasting
from control_plane.fleet.model import EnrolmentToken, Node
from control_plane.identity.model import Tenant
from control_plane.terminals.model import Terminal
from tests.tenants import Member, add_tenant, two_tenants, use_the_rest
from tests.unit.control_plane.world import SERVER, START, World, build_world

OWNED = sorted((each.class_ for each in Base.registry.mappers if issubclass(each.class_, TenantRow)), key=str)
EMPTY_HERE = {
    "EnrolmentToken",
    "OneOffRequest",
    "BotLogLine",
    "PaperDeal",
    "EmailChange",
    "Invitation",
    "LoginRefusal",
    "Passkey",
    "SignUp",
    "TenantLimits",
    "AlertDelivery",
    "AlertNotice",
    "BacktestReport",
    "Copier",
    "CopyLink",
    "CopyStep",
    "CustomStrategy",
    "GuardObservation",
    "KillTarget",
    "LimitDefaults",
    "OrderBatch",
    "StrategyVersion",
    "TelegramChat",
}
"""Tables of which the broker has no row in this farm."""


@pytest.fixture(scope="module")
def filled(
    first_start: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, tuple[Member, Member]]]:
    """One farm for all: nothing that is tried here succeeds."""
    data = tmp_path_factory.mktemp("tenancy") / "farm"
    shutil.copytree(first_start, data)
    world = build_world(data)
    members = two_tenants(world)
    for number, member in enumerate(members):
        tried = {"login": 7001 + number, "password": "broker-secret", "server": SERVER}
        member.trader.call("POST", "/connection-tests", 202, tried)
        use_the_rest(member)
    yield world, members
    world.farm.stop()


@pytest.fixture
def world(filled: tuple[World, tuple[Member, Member]]) -> World:
    return filled[0]


@pytest.fixture
def members(filled: tuple[World, tuple[Member, Member]]) -> tuple[Member, Member]:
    return filled[1]


def test_every_mapped_table_with_a_tenant_is_kept_apart() -> None:
    assert MODULES
    by_column = {each.class_ for each in Base.registry.mappers if "tenant_id" in each.columns}
    assert by_column == {*OWNED, Node}


def test_no_repository_goes_around_the_models() -> None:
    """Only queries through the models are filtered."""
    around = re.compile(r"__table__|\btext\(|exec_driver_sql|\.connection\(|execute_prepared")
    folder = Path(control_plane.__file__).parent
    assert [path.name for path in folder.glob("*/repository.py") if around.search(path.read_text())] == []


def test_a_tenant_is_asked_for_every_transaction_of_a_trader() -> None:
    """What is done as the farm itself is said so, and routes of traders never are."""
    folder = Path(control_plane.__file__).parent
    traders = ("accounts", "access", "bots", "trading", "stream")
    sources = [path for name in traders for path in (folder / name).glob("*.py")]
    assert [str(path) for path in sources if "_as_system()" in path.read_text()] == []


OTHER = aliased(Account)
QUERIES: dict[str, Callable[[type[TenantRow]], Select[str]]] = {
    "plain": lambda model: select(model.tenant_id),
    "alias": lambda model: select(aliased(model).tenant_id),
    "subquery": lambda model: select(select(model.tenant_id).subquery().c.tenant_id),
    "cte": lambda model: select(select(model.tenant_id).cte().c.tenant_id),
    "union": lambda model: select(union_all(select(model.tenant_id), select(model.tenant_id)).subquery().c.tenant_id),
    "distinct": lambda model: select(model.tenant_id).distinct(),
    "joined": lambda model: select(OTHER.tenant_id).select_from(model).join(OTHER, OTHER.tenant_id != "x"),
    "exists": lambda model: select(OTHER.tenant_id).where(exists().where(model.tenant_id != OTHER.tenant_id)),
    "grouped": lambda model: select(func.max(model.tenant_id)).group_by(model.tenant_id),
}


@pytest.mark.parametrize("shape", QUERIES)
def test_no_query_shows_foreign_rows(world: World, members: tuple[Member, Member], shape: str) -> None:
    for member in members:
        with world.farm.database.read(member.tenant_id) as session:
            for model in OWNED:
                seen = set(session.scalars(QUERIES[shape](model)))
                assert seen <= {member.tenant_id}, model
                if shape == "plain" and model.__name__ not in EMPTY_HERE:
                    assert seen, model


def test_no_bulk_change_reaches_foreign_rows(world: World, members: tuple[Member, Member]) -> None:
    """Even one that names them."""
    mine, foreign = members

    with world.farm.database.write(mine.tenant_id) as session:
        gone = delete(Terminal).where(Terminal.account_id == foreign.account_id).returning(Terminal.id)
        assert list(session.scalars(gone)) == []
        taken = update(Account).where(Account.id == foreign.account_id).values(label="taken").returning(Account.id)
        assert list(session.scalars(taken)) == []
        assert session.get(Account, foreign.account_id) is None
        assert session.get(Tenant, foreign.tenant_id) is None


def rename(world: World, tenant_id: str, account_id: str) -> None:
    with world.farm.database.write(tenant_id) as session:
        with as_system(session):
            account = session.get_one(Account, account_id)
        account.label = "taken"


def test_no_foreign_row_is_added_or_changed(world: World, members: tuple[Member, Member]) -> None:
    mine, foreign = members
    entry = {"at": START, "actor": "a", "action": "b", "subject_id": "c", "reason": "d"}
    with pytest.raises(ForeignRowError), world.farm.database.write(mine.tenant_id) as session:
        session.add(AuditEntry(id="aud_1", tenant_id=foreign.tenant_id, **entry))
    with pytest.raises(ForeignRowError):
        rename(world, mine.tenant_id, foreign.account_id)
    with world.farm.database.read_as_system() as session:
        assert session.get_one(Account, foreign.account_id).label == "Main"
        assert session.scalar(select(func.count()).select_from(AuditEntry).where(AuditEntry.id == "aud_1")) == 0


def test_a_tenant_sees_the_nodes_that_hold_its_terminals_and_no_others(
    world: World, members: tuple[Member, Member]
) -> None:
    spare = world.node(name="spare").node_id
    stranger = add_tenant(world, "another broker")
    database = world.farm.database
    with database.read(members[1].tenant_id) as session:
        seen = list(session.scalars(select(Node.id)))
    assert len(seen) == 1
    assert spare not in seen
    with database.read(stranger) as session:
        assert list(session.scalars(select(Node.id))) == []
        assert list(session.scalars(select(EnrolmentToken.id))) == []


def test_the_farm_itself_sees_everything_for_as_long_as_it_says(world: World, members: tuple[Member, Member]) -> None:
    query = select(Account.tenant_id).distinct()
    both = {each.tenant_id for each in members}
    with world.farm.database.read_as_system() as session:
        assert set(session.scalars(query)) == both
    with world.farm.database.read(members[0].tenant_id) as session:
        with as_system(session):
            assert set(session.scalars(query)) == both
        assert set(session.scalars(query)) == {members[0].tenant_id}


def test_what_fails_as_the_farm_ends_its_rights_as_well(world: World, members: tuple[Member, Member]) -> None:
    def fail(session: Session) -> None:
        with as_system(session):
            raise RuntimeError

    with world.farm.database.read(members[0].tenant_id) as session:
        with pytest.raises(RuntimeError):
            fail(session)
        assert set(session.scalars(select(Account.tenant_id))) == {members[0].tenant_id}


def test_a_statement_that_is_made_once_shows_each_tenant_its_own(filled: tuple[World, tuple[Member, Member]]) -> None:
    world, members = filled
    statement = lasting(select(Account.id).where(Account.server == bindparam("server")))
    seen = []
    for member in (*members, *members):
        with world.farm.database.read(member.tenant_id) as session:
            seen.append(set(session.scalars(statement, {"server": SERVER})))
            assert seen[-1] == set(session.scalars(select(Account.id).where(Account.tenant_id == member.tenant_id)))
    assert seen[0]
    assert seen[0].isdisjoint(seen[1])
    assert seen[:2] == seen[2:]
