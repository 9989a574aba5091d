"""Rows that are written together are what they would be one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from control_plane.accounts.model import AccountSnapshotRow
from control_plane.db.bulk import put_rows
from control_plane.db.tenancy import ForeignRowError
from control_plane.risk.model import GuardObservation
from tests.unit.control_plane.world import Trader, World

pytestmark = pytest.mark.both_databases

AT = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
ODD_TEXTS = ("", "it's", 'said "so"', "back\\slash", "{1,2}", "null", "été 日本 🎉", "%(a)s :b $1", "line\nbreak\ttab")


def snapshot(account: dict[str, Any], **changes: Any) -> dict[str, Any]:
    row = {
        "account_id": account["id"],
        "tenant_id": account["tenant_id"],
        "currency": "USD",
        "balance": Decimal("92233720368.54775807"),
        "equity": Decimal("-0.00000001"),
        "profit": Decimal(0),
        "margin": Decimal("1.5"),
        "margin_free": Decimal("1e3"),
        "positions": 3,
        "broker_time": 2**31,
        "taken_at": AT,
    }
    return row | changes


@pytest.fixture
def accounts(world: World, trader: Trader) -> list[dict[str, Any]]:
    made = [trader.connect(login=5001 + number) for number in range(3)]
    return [{"id": each["id"], "tenant_id": trader.user["tenant_id"]} for each in made]


def test_every_value_comes_back_as_it_went(world: World, accounts: list[dict[str, Any]]) -> None:
    rows = [snapshot(each) for each in accounts]
    with world.farm.database.write_as_system() as session:
        assert sorted(put_rows(session, AccountSnapshotRow, rows)) == sorted(each["id"] for each in accounts)
    with world.farm.database.read_as_system() as session:
        for row in rows:
            kept = session.get_one(AccountSnapshotRow, row["account_id"])
            assert {name: getattr(kept, name) for name in row} == row


def test_the_time_zone_of_a_date_does_not_matter(world: World, accounts: list[dict[str, Any]]) -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=-7, minutes=-30)))
    with world.farm.database.write_as_system() as session:
        put_rows(session, AccountSnapshotRow, [snapshot(each, taken_at=elsewhere) for each in accounts])
    with world.farm.database.read_as_system() as session:
        assert session.get_one(AccountSnapshotRow, accounts[0]["id"]).taken_at == AT


def test_texts_and_what_is_nested_stay_what_they_are(world: World, accounts: list[dict[str, Any]]) -> None:
    body = {text: [text, None, True, 0.1, {"deeper": text}] for text in ODD_TEXTS}
    for odd in ODD_TEXTS:
        with world.farm.database.write_as_system() as session:
            put_rows(session, AccountSnapshotRow, [snapshot(each, currency=odd[:16]) for each in accounts])
            observed = {"epoch": 1, "body": body, "reported_at": AT}
            put_rows(
                session,
                GuardObservation,
                [{"account_id": each["id"], "tenant_id": each["tenant_id"], **observed} for each in accounts],
            )
        with world.farm.database.read_as_system() as session:
            assert session.get_one(AccountSnapshotRow, accounts[1]["id"]).currency == odd[:16]
            assert session.get_one(GuardObservation, accounts[2]["id"]).body == body


def test_what_is_there_is_overwritten_or_kept(world: World, accounts: list[dict[str, Any]]) -> None:
    first, *others = accounts
    with world.farm.database.write_as_system() as session:
        put_rows(session, AccountSnapshotRow, [snapshot(first)])
        again = [snapshot(each, positions=7) for each in accounts]
        kept = put_rows(session, AccountSnapshotRow, again, keep=True)
        assert sorted(kept) == sorted(each["id"] for each in others)
    with world.farm.database.read_as_system() as session:
        assert session.get_one(AccountSnapshotRow, first["id"]).positions == 3
    with world.farm.database.write_as_system() as session:
        assert len(put_rows(session, AccountSnapshotRow, again)) == 3
    with world.farm.database.read_as_system() as session:
        assert session.get_one(AccountSnapshotRow, first["id"]).positions == 7


def test_no_row_of_another_tenant_is_written(world: World, accounts: list[dict[str, Any]]) -> None:
    foreign = snapshot(accounts[0], tenant_id="ten_other")
    with pytest.raises(ForeignRowError), world.farm.database.write(accounts[0]["tenant_id"]) as session:
        put_rows(session, AccountSnapshotRow, [snapshot(accounts[1]), foreign])
