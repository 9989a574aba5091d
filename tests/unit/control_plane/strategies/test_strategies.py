"""Strategies that users bring: what is taken, what is refused with its line, who may have it, and when it may go."""

from __future__ import annotations

import base64
import io
import time
import zipfile
from collections.abc import Mapping
from typing import Any

import pytest

from control_plane.strategies.service import Strategies
from mt5_bridge.sandbox.inspection import Finding
from mt5_bridge.sandbox.package import Package, PackageError, digest, read_upload
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import CODE_PATH
from tests.unit.control_plane.world import NodePlayer, Trader, World

pytestmark = pytest.mark.both_databases
SOURCE = b"# a strategy\n"
PARAMETER = {"name": "bars", "title": "Bars", "help": "", "type": "int", "default": 3, "minimum": 1, "maximum": 9}
SWITCH = {"name": "on", "title": "On", "help": "", "type": "bool", "default": True}


def declared(**change: Any) -> dict[str, Any]:
    return {"ok": True, "kind": "strategy", "title": "Own", "help": "", "parameters": [PARAMETER, SWITCH], **change}


@pytest.fixture(autouse=True)
def _no_sandbox(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a look finds is set here: the looking itself has its own tests."""

    def inspect(package: Package) -> Finding:
        if b"broken" in package.files[package.entry]:
            return Finding(None, "syntax_error", "invalid syntax.", "main.py", 7)
        if b"odd" in package.files[package.entry]:
            return Finding(declared(parameters=[{**PARAMETER, "name": "not a name"}]))
        return Finding(declared())

    monkeypatch.setattr(world.farm.strategies, "_inspect", inspect)


def upload(trader: Trader, source: bytes = SOURCE, status: int = 201, path: str = "", **change: Any) -> dict[str, Any]:
    body = {"name": "Mine", "file_name": "mine.py", "content": base64.b64encode(source).decode(), **change}
    answer: dict[str, Any] = trader.call("POST", f"/custom-strategies{path}", status, body)
    return answer


def bot_of(trader: Trader, account: str, version: str, status: int = 201, **change: Any) -> dict[str, Any]:
    body = {"account_id": account, "name": "Own", "strategy": version, "symbol": "EURUSD", "timeframe": "M1"}
    answer: dict[str, Any] = trader.call("POST", "/bots", status, {**body, "volume": 0.1, **change})
    return answer


def test_an_upload_is_kept_in_versions_that_never_change(trader: Trader) -> None:
    first = upload(trader, notes="the first")
    assert [(each["number"], each["notes"], each["kind"]) for each in first["versions"]] == [
        (1, "the first", "strategy")
    ]
    again = upload(trader, path=f"/{first['id']}/versions")
    assert len(again["versions"]) == 1
    second = upload(trader, SOURCE + b"# more\n", path=f"/{first['id']}/versions")
    assert [each["number"] for each in second["versions"]] == [2, 1]
    assert second["versions"][1] == first["versions"][0]
    assert [each["id"] for each in trader.call("GET", "/custom-strategies")["items"]] == [first["id"]]


def test_an_error_names_the_line(trader: Trader) -> None:
    problem = upload(trader, b"broken", 422)
    assert problem["code"] == "strategy_syntax_error"
    assert problem["errors"] == [{"field": "content", "message": "main.py, line 7: invalid syntax."}]


def test_what_code_says_of_itself_is_not_trusted(trader: Trader) -> None:
    assert "name" in upload(trader, b"odd", 422)["errors"][0]["message"]


def test_a_bot_runs_a_version_and_its_node_alone_gets_the_code(world: World, trader: Trader, node: NodePlayer) -> None:
    account, wanted = world.ready_account(trader, node)
    version = upload(trader)["versions"][0]
    bot = bot_of(trader, account, version["id"], parameters={"bars": 5})
    assert bot["parameters"] == {"bars": 5, "on": 1}
    assert (
        bot_of(trader, account, version["id"], 422, parameters={"bars": 10})["errors"][0]["field"] == "parameters.bars"
    )
    trader.call("POST", f"/bots/{bot['id']}/start", 202)
    node.make_ready(wanted)
    desired = node.desired[0]
    code = desired.bots[0].code
    assert code is not None
    assert (code.sha256, code.kind, code.entry) == (version["sha256"], "strategy", "main.py")
    assert desired.guard.bots is not None
    assert desired.guard.bots[bot["id"]].magic == bot["magic"]
    assert digest(fetch(world, node, code.sha256, 200)) == code.sha256
    fetch(world, world.node(name="other"), code.sha256, 404)


def fetch(world: World, node: NodePlayer, sha256: str, status: int) -> bytes:
    path = f"{CODE_PATH}/{sha256}"
    signature = sign_request(node.identity, node.node_id, "GET", path, b"", time.time())
    response = node.http.get(path, headers={"Authorization": signature})
    assert response.status_code == status, response.text
    return bytes(response.content)


def test_it_goes_only_when_no_bot_is_set_to_it(world: World, trader: Trader, node: NodePlayer) -> None:
    account, _ = world.ready_account(trader, node)
    mine = upload(trader)
    bot = bot_of(trader, account, mine["versions"][0]["id"])
    assert trader.call("GET", f"/custom-strategies/{mine['id']}")["versions"][0]["bots"] == [
        {"id": bot["id"], "name": "Own"}
    ]
    assert trader.call("DELETE", f"/custom-strategies/{mine['id']}", 409)["code"] == "strategy_in_use"
    trader.call("DELETE", f"/bots/{bot['id']}", 204)
    trader.call("DELETE", f"/custom-strategies/{mine['id']}", 204)
    trader.call("GET", f"/custom-strategies/{mine['id']}", 404)


def test_nobody_elses_version_can_be_run(world: World, trader: Trader, node: NodePlayer) -> None:
    version = upload(trader)["versions"][0]["id"]
    other = world.trader("other@example.com")
    account = other.connect(5002)["id"]
    assert bot_of(other, account, version, 422)["errors"][0]["field"] == "strategy"
    assert other.call("GET", "/custom-strategies")["items"] == []


def packed(files: Mapping[str, bytes], change: Any = None) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(entry)
            archive.writestr(entry, content)
    return target.getvalue()


def _link(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = 0o120777 << 16


@pytest.mark.parametrize(
    "content",
    [
        packed({"main.py": b"", "../up.py": b""}),
        packed({"/etc/main.py": b""}),
        packed({"main.py": b"", "a\\b.py": b""}),
        packed({"main.py": b"", ".hidden.py": b""}),
        packed({"main.py": b"", "x.so": b""}),
        packed({"main.py": b"", "MAIN.py": b""}),
        packed({"main.py": b"/etc/passwd"}, _link),
        packed({"main.py": b"x" * 4_000_000}),
        packed({f"m{number}.py": b"" for number in range(101)}),
        packed({"one.py": b"", "two.py": b""}),
        packed({"main.py": "ä".encode("latin-1")}),
        packed({"main.py": b"\0"}),
        packed({"a.py": b"", "a.py/b.py": b""}),
        packed({}),
        packed({"main.py": b"print(1)"})[:40],
        b"PK\3\4 no zip at all",
    ],
)
def test_bad_packages_are_refused_in_words(content: bytes) -> None:
    with pytest.raises(PackageError, match=r"\.$"):
        read_upload("strategy.zip", content)


def test_a_folder_that_was_packed_whole_is_its_content() -> None:
    assert read_upload("s.zip", packed({"mine/main.py": b"", "mine/data/x.csv": b"1"})).entry == "main.py"


def test_a_farm_without_a_sandbox_says_so(world: World, trader: Trader, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Strategies(world.farm.files, world.farm.audit, world.farm.clock)
    monkeypatch.setattr(world.farm.strategies, "_inspect", real._inspect)
    monkeypatch.setattr("mt5_bridge.sandbox.inspection.why_not", lambda: "It needs bubblewrap.")
    problem = upload(trader, status=503)
    assert (problem["code"], problem["detail"]) == ("no_sandbox", "It needs bubblewrap.")
