"""The judge of contracts: what breaks clients is named, what does not passes, and the present contract keeps to it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.app import openapi_document
from tests.contract import run
from tests.contract.changes import additions, breaking_changes

PRESENT = openapi_document()
Change = Callable[[dict[str, Any]], Any]

SMALL: dict[str, Any] = {
    "paths": {
        "/bots": {
            "post": {
                "operationId": "create_bot",
                "parameters": [
                    {"in": "query", "name": "limit", "required": False, "schema": {"type": "integer", "maximum": 500}}
                ],
                "requestBody": {
                    "required": False,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CreateBot"}}},
                },
                "responses": {
                    "201": {
                        "headers": {"ETag": {"schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Bot"}}},
                    },
                    "409": {},
                },
            }
        }
    },
    "components": {
        "schemas": {
            "CreateBot": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 60},
                    "volume": {"type": "number", "exclusiveMinimum": 0},
                    "side": {"type": "string", "enum": ["buy", "sell"]},
                    "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
            },
            "Bot": {
                "type": "object",
                "required": ["id", "phase"],
                "properties": {
                    "id": {"type": "string"},
                    "phase": {"type": "string", "enum": ["running", "stopped"]},
                    "next": {"anyOf": [{"$ref": "#/components/schemas/Bot"}, {"type": "null"}]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "at": {"type": "string", "format": "date-time"},
                },
            },
        }
    },
}


def call(document: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = document["paths"]["/bots"]["post"]
    return operation


def given(document: dict[str, Any], name: str = "") -> dict[str, Any]:
    """What a request has: the schema of a field, or of the whole."""
    schema: dict[str, Any] = document["components"]["schemas"]["CreateBot"]
    return schema["properties"][name] if name else schema


def told(document: dict[str, Any], name: str = "") -> dict[str, Any]:
    """The same of an answer."""
    schema: dict[str, Any] = document["components"]["schemas"]["Bot"]
    return schema["properties"][name] if name else schema


BREAKING: dict[str, Change] = {
    "path gone": lambda d: d["paths"].clear(),
    "method gone": lambda d: d["paths"].update({"/bots": {"get": d["paths"]["/bots"].pop("post")}}),
    "operation renamed": lambda d: call(d).update(operationId="make_bot"),
    "credential needed": lambda d: call(d).update(security=[{"session": []}]),
    "parameter gone": lambda d: call(d)["parameters"].clear(),
    "parameter required": lambda d: call(d)["parameters"][0].update(required=True),
    "new required parameter": lambda d: call(d)["parameters"].append({"in": "header", "name": "K", "required": True}),
    "parameter narrowed": lambda d: call(d)["parameters"][0]["schema"].update(maximum=100),
    "body required": lambda d: call(d)["requestBody"].update(required=True),
    "body gone": lambda d: call(d).pop("requestBody"),
    "other media type": lambda d: call(d)["requestBody"].update(content={"text/plain": {}}),
    "new required field": lambda d: given(d)["required"].append("volume"),
    "request field gone": lambda d: given(d)["properties"].pop("volume"),
    "request type narrowed": lambda d: given(d, "volume").update(type="integer"),
    "request type changed": lambda d: given(d, "name").update(type="integer"),
    "request shorter": lambda d: given(d, "name").update(maxLength=59),
    "request longer": lambda d: given(d, "name").update(minLength=1),
    "request minimum": lambda d: given(d, "volume").update(minimum=0),
    "request pattern": lambda d: given(d, "name").update(pattern="^a"),
    "request format": lambda d: given(d, "name").update(format="email"),
    "request value gone": lambda d: given(d, "side").update(enum=["buy"]),
    "request limited to values": lambda d: given(d, "name").update(enum=["a"]),
    "request no longer null": lambda d: given(d, "note").update(anyOf=[{"type": "string"}]),
    "success status gone": lambda d: call(d)["responses"].update({"200": call(d)["responses"].pop("201")}),
    "header gone": lambda d: call(d)["responses"]["201"]["headers"].clear(),
    "answer is no json": lambda d: call(d)["responses"]["201"].update(content={"text/plain": {}}),
    "answer field gone": lambda d: told(d)["properties"].pop("phase"),
    "answer field optional": lambda d: told(d)["required"].remove("phase"),
    "answer type widened": lambda d: told(d, "id").update(type=["string", "integer"]),
    "answer type changed": lambda d: told(d, "id").update(type="integer"),
    "answer value gone": lambda d: told(d, "phase").update(enum=["running"]),
    "answer free text now": lambda d: told(d, "phase").pop("enum"),
    "answer may be null": lambda d: told(d, "at").update(type=["string", "null"]),
    "answer items changed": lambda d: told(d, "tags").update(items={"type": "integer"}),
    "answer format gone": lambda d: told(d, "at").pop("format"),
}
HARMLESS: dict[str, Change] = {
    "nothing": lambda d: None,
    "new path": lambda d: d["paths"].update({"/more": d["paths"]["/bots"]}),
    "new optional parameter": lambda d: call(d)["parameters"].append({"in": "query", "name": "x"}),
    "parameter widened": lambda d: call(d)["parameters"][0]["schema"].update(maximum=1000),
    "new optional field": lambda d: given(d)["properties"].update(x={"type": "string"}),
    "field no longer required": lambda d: given(d)["required"].clear(),
    "request longer allowed": lambda d: given(d, "name").update(maxLength=61),
    "request any length": lambda d: given(d, "name").pop("maxLength"),
    "request lengths are never negative": lambda d: given(d, "name").update(minLength=0),
    "request new value": lambda d: given(d, "side").update(enum=["buy", "sell", "both"]),
    "request type widened": lambda d: given(d, "name").update(type=["string", "null"]),
    "new answer field": lambda d: told(d)["properties"].update(x={"type": "string"}),
    "answer field always there": lambda d: told(d)["required"].append("at"),
    "new answer value": lambda d: told(d, "phase").update(enum=["running", "stopped", "failed"]),
    "answer never null": lambda d: told(d, "next").update(anyOf=[{"$ref": "#/components/schemas/Bot"}]),
    "other error": lambda d: call(d)["responses"].update({"404": call(d)["responses"].pop("409")}),
    "renamed schema": lambda d: d["components"]["schemas"].update(Robot=told(d)),
    "credential dropped": lambda d: call(d).pop("security", None),
}


def changed(change: Change) -> dict[str, Any]:
    document = copy.deepcopy(SMALL)
    change(document)
    return document


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_clients_is_named(name: str) -> None:
    assert breaking_changes(SMALL, changed(BREAKING[name]))


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_passes(name: str) -> None:
    assert breaking_changes(SMALL, changed(HARMLESS[name])) == []


def test_what_is_new_is_listed() -> None:
    assert additions(SMALL, changed(HARMLESS["new path"])) == ["POST /more"]


def test_no_part_of_the_real_contract_can_go_unseen() -> None:
    for where, without in cut_contracts():
        assert breaking_changes(PRESENT, without), where


def cut_contracts() -> Iterator[tuple[str, dict[str, Any]]]:
    """The contract without one call, or without one field of an answer."""
    for path, operations in PRESENT["paths"].items():
        for method in operations:
            without = {**PRESENT, "paths": {**PRESENT["paths"], path: {**operations}}}
            del without["paths"][path][method]
            yield f"{method} {path}", without
    schemas = PRESENT["components"]["schemas"]
    for name in ("Account", "Bot", "Order", "NodeDetail", "Problem", "AccountPage"):
        for field in schemas[name]["properties"]:
            cut = {**schemas[name], "properties": {k: v for k, v in schemas[name]["properties"].items() if k != field}}
            yield f"{name}.{field}", {**PRESENT, "components": {"schemas": {**schemas, name: cut}}}


def test_the_present_contract_keeps_what_its_baseline_promises() -> None:
    assert breaking_changes(run.read_baseline(), PRESENT) == []


class TestMovingTheBaseline:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(run, "BASELINE", tmp_path / "openapi-v1.json")
        monkeypatch.setattr(run, "_BROKEN", tmp_path / "api_breaking_changes.md")
        old = copy.deepcopy(PRESENT)
        old["paths"]["/api/v1/gone"] = {"get": old["paths"]["/api/v1/me"]["get"]}
        del old["paths"]["/api/v1/farm"]
        run.write_baseline(old)
        return tmp_path

    def told(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["run", *arguments])
        return run.main()

    def test_a_break_fails_and_moves_nothing_without_a_reason(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.told(monkeypatch) == 1
        assert self.told(monkeypatch, "--move") == 1
        assert "/api/v1/gone" in json.loads((folder / "openapi-v1.json").read_text())["paths"]

    def test_a_reason_is_kept_with_what_has_broken(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.told(monkeypatch, "--move", "--because", "nobody used it") == 0
        assert "nobody used it" in (folder / "api_breaking_changes.md").read_text()
        assert "GET /api/v1/gone: is gone" in (folder / "api_breaking_changes.md").read_text()
        assert self.told(monkeypatch) == 0

    def test_additions_need_none(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        old = copy.deepcopy(PRESENT)
        del old["paths"]["/api/v1/farm"]
        run.write_baseline(old)
        assert self.told(monkeypatch) == 0
        assert "GET /api/v1/farm" in capsys.readouterr().out
        assert self.told(monkeypatch, "--move") == 0
        assert not (folder / "api_breaking_changes.md").exists()
