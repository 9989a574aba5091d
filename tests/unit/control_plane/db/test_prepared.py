"""Statements that go past the library are the same statements: values, rows, errors, and who hears them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, insert, select, update
from sqlalchemy.exc import IntegrityError

from control_plane.audit.model import AuditChain, AuditEntry
from control_plane.db.direct import table_of
from control_plane.db.prepared import execute_prepared
from control_plane.identity.model import Tenant
from tests.unit.control_plane.world import World

pytestmark = pytest.mark.both_databases

ENTRIES, CHAINS = table_of(AuditEntry), table_of(AuditChain)
ROW: dict[str, Any] = {each.name: f"{each.name}'; --" for each in ENTRIES.c} | {
    "tenant_id": "ten_a",
    "seq": 2**40,
    "at": datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=UTC),
}
CHAIN = {"tenant_id": "ten_a", "seq": 1, "head_hash": "hash", "signature": b"\x00\xff"}


@pytest.fixture(autouse=True)
def _tenant(world: World) -> None:
    with world.farm.database.write_as_system() as session:
        session.add(Tenant(id="ten_a", kind="broker", name="A", created_at=ROW["at"]))


def test_what_is_written_is_read_by_both(world: World) -> None:
    with world.farm.database.write_as_system() as session:
        done = execute_prepared(session, insert(ENTRIES), ROW)
        assert (done.rows, done.touched) == ([], 1)
        query = select(ENTRIES).where(ENTRIES.c.tenant_id == "ten_a")
        assert execute_prepared(session, query, {}).rows == [tuple(row) for row in session.execute(query)]
        assert execute_prepared(session, query, {}).rows == [tuple(ROW[each.name] for each in ENTRIES.c)]


def test_what_is_changed_is_counted(world: World) -> None:
    change = update(CHAINS).where(CHAINS.c.tenant_id == "ten_a")
    with world.farm.database.write_as_system() as session:
        assert execute_prepared(session, change, {"seq": 2}).touched == 0
        execute_prepared(session, insert(CHAINS), CHAIN)
        assert execute_prepared(session, change, {"seq": 2}).touched == 1
        assert execute_prepared(session, change, {"head_hash": "other"}).touched == 1, (
            "other columns, another statement"
        )
        found = execute_prepared(session, select(CHAINS).where(CHAINS.c.tenant_id == "ten_a"), {}).rows
    assert dict(zip((each.name for each in CHAINS.c), found[0], strict=True)) == {
        **CHAIN,
        "seq": 2,
        "head_hash": "other",
    }


def test_errors_are_the_librarys_and_hide_what_was_written(world: World) -> None:
    with world.farm.database.write_as_system() as session:
        execute_prepared(session, insert(CHAINS), CHAIN)

    def again() -> None:
        with world.farm.database.write_as_system() as session:
            execute_prepared(session, update(CHAINS).where(CHAINS.c.tenant_id == "ten_a"), {"seq": 2})
            execute_prepared(session, insert(CHAINS), CHAIN)

    with pytest.raises(IntegrityError) as caught:
        again()
    assert "hash'" not in str(caught.value)
    with world.farm.database.read_as_system() as session:
        found = execute_prepared(session, select(CHAINS.c.seq).where(CHAINS.c.tenant_id == "ten_a"), {}).rows
    assert found == [(1,)], "the transaction was rolled back"


def test_who_listens_to_statements_hears_them(world: World) -> None:
    heard: list[str] = []

    def listen(*details: Any) -> None:
        heard.append(str(details[2]))

    event.listen(world.farm.database.engine, "before_cursor_execute", listen)
    with world.farm.database.read_as_system() as session:
        execute_prepared(session, select(CHAINS.c.seq), {})
    event.remove(world.farm.database.engine, "before_cursor_execute", listen)
    assert any("audit_chains" in each for each in heard)
