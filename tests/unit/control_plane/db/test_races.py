"""What two did at once is told from what one did wrong, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from control_plane.accounts import repository
from control_plane.db.races import is_lost_race
from tests.unit.control_plane.world import SERVER, Trader, World, ready_browser

pytestmark = pytest.mark.both_databases
_TENANT = "INSERT INTO tenants (id, kind, name, created_at) VALUES (:id, 'broker', :name, '2026-01-01 00:00:00')"


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        (_TENANT, True),
        ("INSERT INTO tenants (id, kind, name, created_at) VALUES ('t', 'broker', NULL, '2026-01-01 00:00:00')", False),
        ("SELECT * FROM nothing_of_this_name", False),
    ],
)
def test_only_what_another_took_first_is_a_race(world: World, statement: str, lost: bool) -> None:
    values = {"id": "ten_x", "name": "x"}
    with world.farm.database.write_as_system() as session:
        session.execute(text(_TENANT), values)
    with pytest.raises(DBAPIError) as caught, world.farm.database.write_as_system() as session:
        session.execute(text(statement), values)
    assert is_lost_race(caught.value) is lost


def test_one_login_connected_twice_at_once_is_no_mistake_of_the_farm(
    world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite lets the second one wait, and it sees the first; on Postgres both look before either writes."""
    both, look = threading.Barrier(2), repository.with_login

    def look_together(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        if not world.farm.database.is_sqlite:
            both.wait(30)
        return found

    http = ready_browser(world.farm)
    http.cookies.update(dict(trader.http.cookies))

    def connect(_number: int) -> httpx.Response:
        return http.post(
            "/api/v1/accounts", json={"label": "Main", "login": 1, "password": "broker-secret", "server": SERVER}
        )

    monkeypatch.setattr(repository, "with_login", look_together)
    with ThreadPoolExecutor(2) as threads:
        answers = {each.status_code: each for each in threads.map(connect, range(2))}
    assert 201 in answers
    (lost,) = answers.keys() - {201}
    assert lost == (409 if world.farm.database.is_sqlite else 503)
    assert answers[lost].json()["retryable"] is not world.farm.database.is_sqlite
    assert len(trader.call("GET", "/accounts")["items"]) == 1
