"""The line through the whole house, over real sockets and processes, and what it does with bad input."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mt5_bridge.client import BridgeError, MetaTrader5
from tests.demo_farm import ROOT, DemoFarm, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SCRIPT = """
import sys
import MetaTrader5 as mt5

if not mt5.initialize():
    sys.exit(f"initialize failed: {mt5.last_error()}")
account = mt5.account_info()
bars = mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M1, 0, 100)
tick = mt5.symbol_info_tick("EURUSD")
bought = mt5.order_send({"action": mt5.TRADE_ACTION_DEAL, "symbol": "EURUSD", "volume": 0.02,
                         "type": mt5.ORDER_TYPE_BUY, "price": tick.ask, "magic": 77,
                         "type_filling": mt5.ORDER_FILLING_IOC, "comment": "script"})
closed = mt5.Close("EURUSD", ticket=bought.order)
print(account.login, len(bars), bars["close"][-1] > 0, bought.retcode, bought.comment, closed, sys.argv[1:])
mt5.shutdown()
sys.exit(7)
"""


@pytest.fixture(scope="module")
def farm() -> Iterator[DemoFarm]:
    farm = DemoFarm("--speed", "60")
    try:
        farm.wait_up()
        yield farm
    finally:
        assert farm.stop() == 0, farm.said()
        assert farm.processes() == []


@pytest.fixture(scope="module")
def account(farm: DemoFarm) -> dict[str, Any]:
    """The account with the demo's EURUSD bot."""
    return dict(next(a for a in farm.client.get("/accounts").json()["items"] if a["login"] == 500001))


def ticket(farm: DemoFarm, account: dict[str, Any], scope: str = "trade") -> dict[str, Any]:
    answer = farm.client.post(f"/accounts/{account['id']}/tickets", json={"scope": scope})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def dial(connection: dict[str, Any], text: str | None = None) -> MetaTrader5:
    return MetaTrader5(
        connection["gateway"],
        ticket=text or connection["ticket"],
        ca=connection["ca_pem"],
        server_name=connection["server_name"],
    )


def order(farm: DemoFarm, account: dict[str, Any], body: dict[str, Any], key: str | None = None) -> httpx.Response:
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    return farm.client.post(f"/accounts/{account['id']}/orders", json=body, headers=headers)


def test_a_manual_order_reaches_the_broker_once_and_comes_back_into_the_trade_log(
    farm: DemoFarm, account: dict[str, Any]
) -> None:
    body = {"symbol": "EURUSD", "side": "buy", "volume": 0.03, "comment": "by hand"}
    key = str(uuid.uuid4())
    first, again = order(farm, account, body, key), order(farm, account, body, key)
    assert first.status_code == again.status_code == 201
    assert first.json()["state"] == "done"
    assert first.json()["id"] == again.json()["id"]

    def recorded() -> list[dict[str, Any]]:
        deals = farm.client.get(f"/accounts/{account['id']}/deals", params={"limit": 200}).json()["items"]
        return [deal for deal in deals if deal["comment"] == "by hand"]

    wait_for(lambda: len(recorded()) >= 1, 15)
    assert [deal["ticket"] for deal in recorded()] == [first.json()["deal_ticket"]]

    position = first.json()["order_ticket"]
    positions = farm.client.get(f"/accounts/{account['id']}/positions").json()["items"]
    assert position in [row["ticket"] for row in positions]
    closing = farm.client.post(
        f"/accounts/{account['id']}/positions/{position}/close", json={}, headers={"Idempotency-Key": str(uuid.uuid4())}
    )
    assert closing.json()["state"] == "done"
    positions = farm.client.get(f"/accounts/{account['id']}/positions").json()["items"]
    assert position not in [row["ticket"] for row in positions]


def test_an_unmodified_script_trades_through_the_gateway(
    farm: DemoFarm, account: dict[str, Any], tmp_path: Path
) -> None:
    script, connection = tmp_path / "script.py", tmp_path / "connection.json"
    script.write_text(SCRIPT)
    connection.write_text(json.dumps(ticket(farm, account)))
    connection.chmod(0o600)
    command = [
        sys.executable,
        "-m",
        "mt5_bridge.cli",
        "run",
        str(script),
        "--connection",
        str(connection),
        "one",
        "two",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert ran.returncode == 7, ran.stderr
    assert ran.stdout.strip() == "500001 100 True 10009 Request executed True ['one', 'two']"


@pytest.mark.parametrize(
    ("change", "code"),
    [("altered", "ticket_invalid"), ("used twice", "ticket_used"), ("of another farm", "ticket_unknown_key")],
)
def test_a_bad_ticket_opens_nothing(farm: DemoFarm, account: dict[str, Any], change: str, code: str) -> None:
    connection = ticket(farm, account)
    text = connection["ticket"]
    if change == "altered":
        head, claims, signature = text.split(".")
        text = f"{head}.{claims}.{signature[:-8]}AAAAAAAA"
    elif change == "used twice":
        dial(connection).close()
    else:
        text = foreign_ticket(connection)
    with pytest.raises(BridgeError) as refused:
        dial(connection, text)
    assert refused.value.code == code


def foreign_ticket(connection: dict[str, Any]) -> str:
    """The same claims, signed with a key of our own."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    claims = jwt.decode(connection["ticket"], options={"verify_signature": False})
    return jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "other"})


def test_a_read_ticket_reads_and_does_not_trade(farm: DemoFarm, account: dict[str, Any]) -> None:
    mt5 = dial(ticket(farm, account, "read"))
    try:
        tick = mt5.symbol_info_tick("EURUSD")
        assert tick is not None
        with pytest.raises(BridgeError) as refused:
            mt5.order_send({"action": 1, "symbol": "EURUSD", "volume": 0.01, "type": 0, "price": tick.ask})
        assert refused.value.code == "read_only_ticket"
    finally:
        mt5.close()


def test_garbage_on_every_port_harms_nobody(farm: DemoFarm) -> None:
    before = {(row["role"], row["pid"]) for row in farm.processes()}
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    garbage = [
        b"",
        b"\n",
        b"\x00" * 100,
        b"{" * 5000 + b"\n",
        os.urandom(20_000),
        b'{"v":1,"ticket":5}\n',
        b"\xff" * 64,
    ]
    for offset in range(4):
        for tls in (False, True):
            for data in garbage:
                throw(farm.port + offset, data, unverified if tls else None)
    for worker in (Path("/proc") / str(row["pid"]) for row in farm.processes("worker")):
        config = json.loads(Path(worker.joinpath("cmdline").read_bytes().split(b"\0")[-2].decode()).read_text())
        for data in garbage:
            throw(config["listen"].removeprefix("unix:"), data, None)
    assert {(row["role"], row["pid"]) for row in farm.processes()} == before
    wait_for(farm.whole, 30, farm.said)


def throw(where: int | str, data: bytes, context: ssl.SSLContext | None) -> None:
    family = socket.AF_INET if isinstance(where, int) else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as raw:
        raw.settimeout(5)
        raw.connect(("127.0.0.1", where) if isinstance(where, int) else where)
        try:
            stream = context.wrap_socket(raw) if context else raw
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            stream.recv(1000)
            stream.close()
        except OSError:
            return


def test_a_wrong_broker_password_is_said_once_and_starts_no_storm(farm: DemoFarm) -> None:
    login, password, server = farm.spare_account()
    wrong = {"label": "wrong", "login": int(login), "password": "not " + password, "server": server}
    made = farm.client.post("/accounts", json=wrong).json()

    def terminal() -> dict[str, Any]:
        return dict(farm.client.get(f"/accounts/{made['id']}").json()["terminal"])

    wait_for(lambda: terminal()["phase"] == "failed" and terminal()["reason"] == "bad_credentials", 60)
    journals = list((farm.data / "node").rglob(f"{terminal()['id']}/**/logs/*.log"))
    attempts = sum(journal.read_text().count("authorization on") for journal in journals)
    assert 1 <= attempts <= 2, "brokers lock accounts that are tried again and again"
    assert not [row for row in farm.processes("terminal") if row["id"] == terminal()["id"]]

    corrected = farm.client.put(f"/accounts/{made['id']}/credentials", json={"password": password})
    assert corrected.status_code == 202
    wait_for(lambda: terminal()["phase"] == "ready", 60)
    assert farm.client.delete(f"/accounts/{made['id']}").status_code == 202
    wait_for(lambda: len(farm.processes("terminal")) == 3, 30)


def test_bad_orders_and_accounts_are_refused_before_anything_is_sent(farm: DemoFarm, account: dict[str, Any]) -> None:
    good = {"symbol": "EURUSD", "side": "buy", "volume": 0.01}
    for change, field in (({"symbol": "NOSUCH"}, "symbol"), ({"volume": 0.015}, "volume"), ({"volume": 0}, "volume")):
        refused = order(farm, account, good | change)
        assert refused.status_code == 422, refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert field in [error["field"].split(".")[-1] for error in refused.json()["errors"]]
    unknown = {"label": "x", "login": 1, "password": "secret-word", "server": "MT5Farm-Dmeo"}
    refused = farm.client.post("/accounts", json=unknown)
    assert refused.status_code == 422
    assert refused.json()["code"] == "unknown_server"
    assert "MT5Farm-Demo" in refused.json()["detail"]
    assert "secret-word" not in refused.text


def test_a_stopped_terminal_starts_again_with_its_account(farm: DemoFarm, account: dict[str, Any]) -> None:
    def phase() -> str:
        return str(farm.client.get(f"/accounts/{account['id']}").json()["terminal"]["phase"])

    assert farm.client.post(f"/accounts/{account['id']}/undeploy", json={}).status_code == 202
    wait_for(lambda: phase() in {"stopped", "absent"}, 30)
    assert (
        order(farm, account, {"symbol": "EURUSD", "side": "buy", "volume": 0.01}).json()["code"] == "terminal_not_ready"
    )
    assert farm.client.post(f"/accounts/{account['id']}/deploy", json={}).status_code == 202
    wait_for(lambda: phase() == "ready", 30)
    wait_for(farm.whole, 30)


def test_no_secret_is_in_a_log_or_on_a_command_line(farm: DemoFarm) -> None:
    secrets = json.loads((farm.data / "demo-secrets.json").read_text())
    words = [secrets["password"], *(a["password"] for a in secrets["bot_accounts"] + secrets["spare_accounts"])]
    texts = [path.read_text(errors="replace") for path in farm.data.rglob("*.log")]
    for row in farm.processes():
        process = Path("/proc") / str(row["pid"])
        texts += [process.joinpath(name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")]
    assert len(texts) > 20
    assert not [word for word in words if any(word in text for text in texts)]
