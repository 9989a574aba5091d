"""Nobody gets at what the matrix does not give them.

The matrix is walked on Postgres, where the database has a say as well, keys on SQLite; `make authz` does both on both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.authz.keys import OPEN, KeyWalk, needed_scopes
from tests.authz.matrix import Verdict, read
from tests.authz.routes import all_calls
from tests.authz.stage import Stage, raised
from tests.authz.walk import Walk, judge
from tests.deployments import DISTRIBUTED, EMBEDDED, Deployment

LINES = read()
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as ends:
        place = Deployment()
        if request.param == DISTRIBUTED:
            place = ends.enter_context(request.getfixturevalue("servers").deployment())
        yield ends.enter_context(raised(tmp_path_factory.mktemp("authz") / "farm", **place.settings))


on_postgres = pytest.mark.parametrize("stage", [DISTRIBUTED], indirect=True)
on_sqlite = pytest.mark.parametrize("stage", [EMBEDDED], indirect=True)


@on_postgres
def test_every_route_is_in_the_matrix_and_every_line_is_a_route(stage: Stage) -> None:
    assert {line.call for line in LINES} == all_calls(stage.world.farm)


@on_postgres
def test_the_matrix_holds(stage: Stage) -> None:
    report = Walk(stage, LINES, everybody=False).run()
    assert report.wrong_allows == []
    assert report.wrong_refusals == []
    assert report.checks > 2_000


def test_every_route_says_what_it_asks_of_a_key() -> None:
    portal = [line for line in LINES if line.application == "portal" and line.method != "WS"]
    rest = {line.call for line in portal if "/api/v1/" in line.path}
    assert set(needed_scopes()) == {call for call in rest if not call.endswith("/openapi.json")}
    asks_nobody = {line.call for line in LINES if line.cells["nobody"][0] in {Verdict.MAY, Verdict.HIDDEN}}
    assert {call for call, scope in needed_scopes().items() if scope == OPEN} <= asks_nobody


@on_sqlite
def test_a_key_does_what_its_scopes_say_and_what_its_owner_may(stage: Stage) -> None:
    report = KeyWalk(stage, LINES).run()
    assert report.wrong_allows == []
    assert report.wrong_refusals == []
    assert report.checks > 500


@on_sqlite
def test_what_is_for_those_who_run_the_farm_is_at_no_other_address(stage: Stage) -> None:
    for line in LINES:
        if line.application == "operations":
            shown = httpx.get(stage.operations + line.path).text
            assert httpx.get(stage.portal + line.path).text != shown or line.path == "/healthz", line.call
            assert httpx.get(stage.agents + line.path).text != shown or line.path == "/healthz", line.call


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, "{}", Verdict.MAY),
        (409, '{"code": "terminal_not_ready"}', Verdict.MAY),
        (401, "", Verdict.WHO_ARE_YOU),
        (403, '{"code":"role_required"}', Verdict.NOT_IN_ROLE),
        (403, '{"code":"foreign_origin"}', None),
        (404, '{"code":"account_not_found"}', Verdict.HIDDEN),
        (404, '{"code":"not_found"}', None),
        (422, "", None),
        (500, "", None),
    ],
)
def test_an_answer_that_proves_nothing_is_no_verdict(status: int, body: str, verdict: Verdict | None) -> None:
    line = next(each for each in LINES if each.subject == "account")
    assert judge(status, body, line) is verdict
