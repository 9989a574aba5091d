"""A farm of real processes on one machine: a broker, a control plane, and nodes behind links that can be cut."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from control_plane.demo.count import Count, FarmLog, compare
from control_plane.demo.farm_client import FarmClient, answers
from control_plane.demo.run import broker_book
from mt5_bridge.simulated.admin import BrokerAdmin
from node_agent.database import Database
from node_agent.layout import DataLayout
from node_agent.process import is_alive
from node_agent.state import StateStore
from tests.chaos.link import Link
from tests.chaos.processes import Service, send
from tests.ports import free_ports

SERVER = "MT5Farm-Demo"
PASSWORD = secrets.token_urlsafe(12)
SYMBOL = "EURUSD"
SPEED = 300
LEASE_SECONDS, LOST_SECONDS, FENCE_SECONDS = 12, 24, 12
ENVIRONMENT = {
    "MT5FARM_LEASE_SECONDS": str(LEASE_SECONDS),
    "MT5FARM_LOST_AFTER_SECONDS": str(LOST_SECONDS),
    "MT5FARM_FENCE_SECONDS": str(FENCE_SECONDS),
    "MT5FARM_ORDER_SETTLE_SECONDS": "1",
}
"""Far shorter than in life, so that a lost node costs seconds; the lease is longer than two rounds of the loops of the
control plane, which take pauses of their own for deafness."""


@dataclass
class Node:
    """One node: its agent's service, its link to the control plane, its folder."""

    name: str
    folder: Path
    link: Link
    agent: Service

    def processes(self) -> list[dict[str, Any]]:
        """What the agent has started and still runs: role, id, pid."""
        database = Database(DataLayout(self.folder).database)
        try:
            handles = [handle for handle in StateStore(database).handles() if is_alive(handle)]
        finally:
            database.close()
        return [{"role": handle.slot.role.value, "id": handle.slot.id, "pid": handle.pid} for handle in handles]

    @property
    def node_id(self) -> str:
        return str(json.loads((self.folder / "agent.json").read_text())["node_id"])

    def pids(self) -> list[int]:
        """Everything that runs on the node, the agent among it."""
        return [self.agent.pid, *(row["pid"] for row in self.processes())]


class Trader(FarmClient):
    """The owner of all accounts."""

    def set_lease_policy(self, account_id: str, policy: str) -> None:
        """What becomes of the account's terminal when its node is lost."""
        self._http.put(f"/accounts/{account_id}/lease-policy", json={"policy": policy}).raise_for_status()


class ChaosFarm:
    """`accounts` accounts with a bot each, on `nodes` nodes that would each hold them all."""

    speed = SPEED
    environment: ClassVar[dict[str, str]] = ENVIRONMENT

    def __init__(self, folder: Path, *, nodes: int, policies: Sequence[str]) -> None:
        self.folder = folder
        first = free_ports(3 + nodes)
        self._ports = iter(range(first, first + 3 + nodes))
        self._broker_port, self._port, self._agent_port = (next(self._ports) for _ in range(3))
        self.services: dict[str, Service] = {}
        self.nodes: list[Node] = []
        self.url = f"http://127.0.0.1:{self._port}"
        self.client = Trader(self.url, meanwhile=lambda: time.sleep(0.2))
        self.logins: dict[int, str] = {}
        """Account ids by login."""
        self.policies: dict[str, str] = {}
        """Lease policies by account id."""
        self.complaints: list[str] = []
        try:
            self._start(nodes)
            self._connect(policies)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything; agents first, so that nothing is started again."""
        self.client.close()
        for node in self.nodes:
            send(node.pids(), signal.SIGCONT)
            node.agent.stop()
            _run("node_agent.cli", "down", "--data", str(node.folder))
            node.link.close()
        for service in reversed(self.services.values()):
            service.stop()

    def admin(self) -> BrokerAdmin:
        token = (self.folder / "broker" / "admin.token").read_text(encoding="ascii").strip()
        return BrokerAdmin(f"127.0.0.1:{self._broker_port}", token)

    def _start(self, nodes: int) -> None:
        broker = ["--data", str(self.folder / "broker"), "--listen", f"127.0.0.1:{self._broker_port}"]
        self._serve("broker", "mt5_bridge.simulated.server", *broker, "--speed", str(self.speed), "--symbols", SYMBOL)
        wait_for((self.folder / "broker" / "admin.token").exists, 30, "the broker")
        wait_for(lambda: bool(self.admin().status()), 30, "the broker")
        self._control("broker-server", "add", "--name", SERVER, "--company", "Simulated", *self._broker_address())
        ports = ["--port", str(self._port), "--agent-port", str(self._agent_port), "--sync-seconds", "1", "--show-mail"]
        data = ["--data", str(self.folder / "control")]
        self._serve("control plane", "control_plane.cli", "serve", *data, *ports)
        wait_for(lambda: answers(self.url), 60, "the control plane")
        self.nodes = [self._add_node(number) for number in range(nodes)]

    def _broker_address(self) -> list[str]:
        return ["--simulated-address", f"127.0.0.1:{self._broker_port}"]

    def _add_node(self, number: int) -> Node:
        name, link = f"node-{number}", Link(("127.0.0.1", self._agent_port))
        folder, enrolment = self.folder / name, self.folder / f"{name}.json"
        token = self._control("enroll-token", "--name", name, "--url", f"https://127.0.0.1:{link.port}")
        enrolment.touch(0o600)
        enrolment.write_text(token)
        options = ["--data", str(folder), "--enrolment", str(enrolment), "--name", name, "--slots", "20"]
        _run("node_agent.cli", "enroll", *options, *self._gateway_options(next(self._ports)))
        log = self.folder / f"{name}.log"
        agent = Service(name, ["node_agent.cli", "run", "--data", str(folder)], log, self.environment)
        wait_for((folder / "agent.sqlite3").exists, 30, name)
        return Node(name, folder, link, agent)

    def _gateway_options(self, port: int) -> list[str]:
        return ["--gateway-listen", f"127.0.0.1:{port}"]

    def _connect(self, policies: Sequence[str]) -> None:
        self.client.sign_in("chaos@mt5farm.example", PASSWORD + "-Aa1")
        for number, policy in enumerate(policies):
            login = self.admin().create_account(password=PASSWORD, name="Trader")
            account = self.client.connect(f"{policy} {number}", login, PASSWORD, SERVER)
            self.logins[login] = account["id"]
            self.policies[account["id"]] = policy
            self.client.set_lease_policy(account["id"], policy)
            bot = {
                "account_id": account["id"],
                "name": f"bot {number}",
                "strategy": "moving_average_cross",
                "symbol": SYMBOL,
                "timeframe": "M1",
                "volume": 0.1,
                "parameters": {"fast": 3, "slow": 8},
            }
            self.client.start_bot(self.client.create_bot(bot)["id"])
        wait_for(self.whole, 90, "terminals and bots")

    def _serve(self, name: str, *arguments: str) -> None:
        log = self.folder / f"{name.replace(' ', '-')}.log"
        self.services[name] = Service(name, arguments, log, self.environment)

    def _control(self, *arguments: str) -> str:
        return _run("control_plane.cli", *arguments, "--data", str(self.folder / "control"))

    def whole(self) -> bool:
        """Whether all terminals are ready and all bots run, as the control plane knows, and the processes agree."""
        accounts, bots = self.client.accounts(), self.client.bots()
        ready = [one for one in accounts if one["terminal"]["phase"] == "ready"]
        running = [one for one in bots if one["phase"] == "running"]
        roles = Counter(row["role"] for node in self.nodes for row in node.processes())
        there = all(roles[role] == len(self.logins) for role in ("terminal", "worker", "bot"))
        known = len(ready) == len(running) == len(self.logins)
        return known and there and all(one.alive for one in self.services.values())

    def trades(self) -> int:
        """Deals of trades in the trade log."""
        return sum(1 for account_id in self.logins.values() for deal in self.client.deals(account_id) if deal["symbol"])

    def compare(self) -> Count:
        """The broker's book against the trade log, of all accounts."""
        compared = []
        for login, account_id in self.logins.items():
            book = broker_book(self.admin(), login)
            deals = tuple(int(deal["ticket"]) for deal in self.client.deals(account_id))
            orders = tuple((str(o["state"]), int(o["order_ticket"])) for o in self.client.orders(account_id))
            compared.append((login, book, FarmLog(deals=deals, orders=orders)))
        return compare(compared)

    def places(self, policy: str) -> dict[str, str]:
        """Node ids by terminal id, of all terminals with the policy that have a place."""
        rows = self._query(
            "SELECT t.id, t.account_id, a.node_id FROM terminals t"
            " JOIN assignments a ON a.terminal_id = t.id AND a.released_at IS NULL"
        )
        return {terminal: node for terminal, account, node in rows if self.policies[account] == policy}

    def may_move_from(self, node_id: str, since: datetime) -> bool:
        """Whether the node has said since then that its watchdog is up, and confirmed the policy of all its accounts.

        What nobody is sure to end is never moved: a node that falls silent before it has said so keeps its accounts.
        """
        said = self._query(f"SELECT report, last_seen_at FROM nodes WHERE id = '{node_id}'")
        watched = all(
            json.loads(report).get("watchdog_up") is True and datetime.fromisoformat(at).replace(tzinfo=UTC) > since
            for report, at in said
        )
        confirmed = {
            terminal
            for (terminal,) in self._query(
                "SELECT terminal_id FROM assignments WHERE released_at IS NULL AND lease_policy = 'self_fence'"
            )
        }
        return watched and confirmed >= {one for one, node in self.places("self_fence").items() if node == node_id}

    def seconds_since_release(self, terminals: set[str]) -> float:
        """How long ago the last of them was proven dead in its old place."""
        rows = self._query("SELECT terminal_id, MAX(released_at) FROM assignments GROUP BY terminal_id")
        last = max(datetime.fromisoformat(at) for terminal, at in rows if terminal in terminals)
        return (datetime.now(UTC) - last.replace(tzinfo=UTC)).total_seconds()

    def _query(self, sql: str) -> list[Any]:
        path = self.folder / "control" / "farm.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()

    def stale_orders(self) -> list[str]:
        """Orders that were sent under an epoch after the next one had been given out."""
        rows = self._query(
            "SELECT o.client_order_id, o.created_at, a.reserved_at FROM orders o"
            " JOIN terminals t ON t.account_id = o.account_id"
            " JOIN assignments a ON a.terminal_id = t.id AND a.epoch = o.epoch + 1"
            " WHERE o.state = 'done'"
        )
        return [str(key) for key, sent, moved in rows if datetime.fromisoformat(sent) > datetime.fromisoformat(moved)]


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Poll until it holds; seconds that it took. TimeoutError names what did not come."""
    began = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - began
        except OSError:  # whoever is asked is not there at the moment
            pass
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"{what} did not come to pass within {seconds:g} s")
        time.sleep(0.05)


def _run(module: str, *arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    if answer.returncode:
        raise RuntimeError(f"{module} {arguments[0]}: {answer.stderr.strip()[-500:]}")
    return answer.stdout
