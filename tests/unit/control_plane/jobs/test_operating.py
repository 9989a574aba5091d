"""Jobs as operators see them: what waits, what was given up, and how it is tried again."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from control_plane import cli
from control_plane.audit.model import AuditEntry
from control_plane.jobs.model import Job
from control_plane.jobs.state import JobState
from tests.unit.control_plane.world import Trader, World

pytestmark = pytest.mark.both_databases


@pytest.fixture
def dead(world: World, trader: Trader) -> str:
    """A job that was given up; all others are done."""
    world.run_loops()
    trader.connect()
    with world.farm.database.write_as_system() as session:
        job = session.query(Job).filter_by(state=JobState.QUEUED).one()
        job.state, job.attempts, job.last_error = JobState.DEAD, 20, "RuntimeError"
        return job.id


@pytest.fixture
def operator(world: World) -> Trader:
    return world.operator()


def test_what_was_given_up_is_seen(operator: Trader, dead: str) -> None:
    (shown,) = operator.call("GET", "/jobs?state=dead")["items"]
    assert (shown["id"], shown["kind"], shown["attempts"], shown["last_error"]) == (
        dead,
        "place_terminal",
        20,
        "RuntimeError",
    )
    assert operator.call("GET", f"/jobs/{dead}") == shown
    assert operator.call("GET", "/jobs?state=queued")["items"] == []
    counts = operator.call("GET", "/jobs/counts")
    assert (counts["queued"], counts["dead"]) == (0, 1)
    assert counts["done"] == len(operator.call("GET", "/jobs?state=done")["items"]) > 0


def test_a_long_list_comes_in_pages_with_the_newest_first(world: World, trader: Trader, operator: Trader) -> None:
    for login in range(5001, 5006):
        trader.connect(login)
    seen: list[str] = []
    path = "/jobs?limit=2"
    while path:
        page = operator.call("GET", path)
        seen += [each["id"] for each in page["items"]]
        path = f"/jobs?limit=2&cursor={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == sorted(seen, reverse=True)
    with world.farm.database.read_as_system() as session:
        assert set(seen) == {job.id for job in session.query(Job)}
    assert len(seen) > 5


def test_it_is_tried_again_at_an_operators_word(world: World, operator: Trader, dead: str) -> None:
    body = {"reason": "the disk is back"}
    shown = operator.call("POST", f"/jobs/{dead}/redrive", 202, body)
    assert (shown["state"], shown["attempts"]) == ("queued", 0)
    assert operator.call("POST", f"/jobs/{dead}/redrive", 409, body)["code"] == "job_not_dead"
    world.run_loops()
    assert operator.call("GET", f"/jobs/{dead}")["state"] == "done"
    with world.farm.database.read_as_system() as session:
        deed = session.query(AuditEntry).filter_by(action="redrive_job").one()
    assert (deed.actor, deed.subject_id, deed.reason) == ("ops@example.com", dead, "the disk is back")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/jobs"), ("GET", "/jobs/counts"), ("GET", "/jobs/x"), ("POST", "/jobs/x/redrive")]
)
def test_traders_see_nothing_of_it(trader: Trader, method: str, path: str) -> None:
    body = {"reason": "because"} if method == "POST" else None
    assert trader.call(method, path, 403, body)["code"] == "role_required"


def test_what_is_not_there_is_said(operator: Trader) -> None:
    assert operator.call("GET", "/jobs/job_x", 404)["code"] == "job_not_found"
    assert operator.call("POST", "/jobs/job_x/redrive", 404, {"reason": "because"})["code"] == "job_not_found"


def test_the_commands_show_and_re_drive(world: World, dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    for name in ("database_url", "redis_url"):
        if address := getattr(world.farm.settings, name):
            monkeypatch.setenv(f"MT5FARM_{name.upper()}", address)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, ["jobs", *arguments, "--data", str(world.data)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert dead in run("list", "--state", "dead")
    assert "1 jobs are tried again" in run("redrive", "--reason", "the disk is back")
    assert "1 queued, 1 done, 0 dead" in run("list")
    assert "0 jobs are tried again" in run("redrive", "--reason", "once more")
