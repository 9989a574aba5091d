"""A thousand requests made from the contract, right and wrong: no promise of it is broken, on either database."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

pytest.importorskip("schemathesis", reason="needs the package schemathesis")

from tests.authz.stage import raised
from tests.fuzz_api.drive import Fuzz

CASES = {"sqlite": 500, "postgres": 500}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database", CASES)
def test_no_promise_of_the_contract_is_broken(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    settings = {}
    if database == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres_url")
    seed = secrets.randbelow(2**31)
    print(f"seed {seed}")
    with raised(tmp_path / "farm", **settings) as stage:
        report = Fuzz(stage, seed).run(CASES[database])
    assert [str(each) for each in report.findings.values()] == [], f"make fuzz-api SEED={seed}"
    assert report.total >= CASES[database]
    assert report.statuses.keys() >= {200, 201, 401, 403, 404, 422}
