"""The directory of broker servers: searched by everybody, kept by operators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from control_plane.brokers.service import add_server, close_matches, learn_server
from control_plane.cli import app
from tests.unit.control_plane.world import SERVER, Trader, World

pytestmark = pytest.mark.both_databases
ENTRY = {
    "name": "Example-Live 3",
    "company": "Example Ltd",
    "display_name": "Example, real",
    "kind": "live",
    "time_zone": "Europe/Athens",
}
KNOWN = [
    "ICMarketsSC-Demo",
    "ICMarketsSC-MT5",
    "Pepperstone-Demo",
    "Example-Live 3",
    "MetaQuotes-Demo",
    "Exness-MT5Real",
]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("icmarketssc demo", "ICMarketsSC-Demo"),
        ("ICMarkets-Demo", "ICMarketsSC-Demo"),
        ("Peperstone-Demo", "Pepperstone-Demo"),
        ("example_live3", "Example-Live 3"),
        ("Metaquote-Demo", "MetaQuotes-Demo"),
        ("exnessmt5 real", "Exness-MT5Real"),
    ],
)
def test_a_typo_finds_what_was_meant_first(typed: str, meant: str) -> None:
    assert close_matches(typed, KNOWN)[0] == meant


@pytest.mark.parametrize("typed", ["", "zzz", "-"])
def test_what_is_like_nothing_finds_nothing(typed: str) -> None:
    assert close_matches(typed, KNOWN) == []


def test_a_search_without_hits_suggests(world: World, trader: Trader) -> None:
    found = trader.call("GET", "/broker-servers?query=mt5frm-demo")
    assert (found["items"], [each["name"] for each in found["suggestions"]]) == ([], [SERVER])
    assert trader.call("GET", "/broker-servers?query=demo")["suggestions"] == []


def test_what_is_exported_can_be_imported_elsewhere(world: World) -> None:
    operator = world.operator()
    assert operator.call("POST", "/broker-directory", 200, {"servers": [ENTRY]}) == {"added": 1, "corrected": 0}
    exported = operator.call("GET", "/broker-directory")
    assert ENTRY in exported["servers"]
    assert operator.call("POST", "/broker-directory", 200, exported) == {"added": 0, "corrected": 2}
    assert operator.call("GET", "/broker-directory") == exported


def test_an_import_does_not_make_a_simulated_server_real(world: World, trader: Trader) -> None:
    """Nor the other way round: it would open accounts of real money without a second factor."""
    operator = world.operator()
    operator.call("POST", "/broker-directory", 200, {"servers": [{**ENTRY, "name": SERVER}, ENTRY]})
    items = trader.call("GET", "/broker-servers?query=example")["items"]
    assert {each["name"]: each["simulated"] for each in items} == {SERVER: True, ENTRY["name"]: False}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"time_zone": "Athens"}, "unknown_time_zone"),
        ({"kind": "real"}, "invalid_input"),
        ({"name": ""}, "invalid_input"),
    ],
)
def test_one_wrong_entry_keeps_all_out(world: World, change: dict[str, str], code: str) -> None:
    operator = world.operator()
    wrong = {"servers": [ENTRY, {**ENTRY, "name": "Another", **change}]}
    assert operator.call("POST", "/broker-directory", 422, wrong)["code"] == code
    assert ENTRY not in operator.call("GET", "/broker-directory")["servers"]


def test_a_name_that_comes_twice_is_refused(world: World) -> None:
    operator = world.operator()
    assert operator.call("POST", "/broker-directory", 422, {"servers": [ENTRY, ENTRY]})["code"] == "listed_twice"


def test_an_operator_describes_and_removes_a_server(world: World, trader: Trader) -> None:
    operator = world.operator()
    operator.call("POST", "/broker-directory", 200, {"servers": [ENTRY]})
    shown = operator.call("PUT", "/broker-directory/Example-Live 3", 200, {"company": "Example Ltd", "kind": "demo"})
    assert (shown["kind"], shown["time_zone"], shown["source"]) == ("demo", "", "operator")
    operator.call("DELETE", "/broker-directory/Example-Live 3", 204)
    assert operator.call("DELETE", "/broker-directory/Example-Live 3", 404)["code"] == "broker_server_not_found"
    trader.connect()
    assert operator.call("DELETE", f"/broker-directory/{SERVER}", 409)["code"] == "server_in_use"


def test_a_trader_only_searches(trader: Trader) -> None:
    assert trader.call("GET", "/broker-directory", 403)["code"] == "role_required"
    assert trader.call("POST", "/broker-directory", 403, {"servers": [ENTRY]})["code"] == "role_required"


def test_what_a_template_brings_along_never_overwrites(world: World, trader: Trader) -> None:
    with world.farm.database.write_as_system() as session:
        add_server(session, world.clock, "Known-Demo", "The right company", None)
        learn_server(session, world.clock, "Known-Demo", "Another company")
        learn_server(session, world.clock, "New-Demo", "New company")
    items = {each["name"]: each for each in trader.call("GET", "/broker-servers")["items"]}
    assert items["Known-Demo"]["company"] == "The right company"
    assert (items["New-Demo"]["source"], items["New-Demo"]["simulated"]) == ("template", False)


def test_an_export_is_json_of_this_shape(world: World, tmp_path: Path) -> None:
    exported = world.operator().call("GET", "/broker-directory")
    assert json.loads(json.dumps(exported)) == {
        "servers": [
            {"name": SERVER, "company": "MT5 Farm", "display_name": "", "kind": "unknown", "time_zone": ""},
        ]
    }


def test_the_command_line_takes_it_out_and_in(tmp_path: Path) -> None:
    data, file = str(tmp_path / "farm"), tmp_path / "servers.json"

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["broker-server", *words, "--data", data])

    file.write_text(json.dumps({"servers": [ENTRY]}))
    assert "1 added, 0 corrected" in run("import", str(file)).output
    assert ENTRY in json.loads(run("export").output)["servers"]
    file.write_text(json.dumps({"servers": [{"company": "Nameless"}]}))
    assert "is no directory of broker servers: servers.0.name: Field required" in str(
        run("import", str(file)).exception
    )
    wrong = run("add", "--name", "X", "--company", "Y", "--time-zone", "Nowhere")
    assert "write an IANA name" in str(wrong.exception)
