"""Writes a whole fleet into a database at once: to enrol thousands of nodes one by one would take too long."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import insert

from control_plane.accounts.model import Account
from control_plane.assignments.model import Assignment
from control_plane.assignments.state import AssignmentState
from control_plane.brokers.service import add_server
from control_plane.container import Farm
from control_plane.fleet.model import Node
from control_plane.fleet.service import IDENTITY_LIFETIME
from control_plane.fleet.state import NodeState
from control_plane.identity.model import User, UserSession
from control_plane.identity.state import Role
from control_plane.ids import new_id
from control_plane.terminals.model import Terminal
from control_plane.terminals.state import Hold, Intent
from node_agent.protocol.encoding import to_text
from node_agent.protocol.messages import PROTOCOL_VERSION

SERVER = "MT5Farm-Load"
_CHUNK = 2000


@dataclass(frozen=True)
class Hosted:
    """A terminal as its node reports it."""

    terminal_id: str
    account_id: str
    login: int


@dataclass(frozen=True)
class Member:
    """A node with its key, as raw bytes, and what it holds."""

    node_id: str
    key: bytes
    terminals: tuple[Hosted, ...]


@dataclass(frozen=True)
class Visitor:
    """A signed-in user with the accounts that are theirs."""

    cookie: str
    account_ids: tuple[str, ...]


@dataclass(frozen=True)
class Fleet:
    members: tuple[Member, ...]
    visitors: tuple[Visitor, ...]


def build_fleet(farm: Farm, nodes: int, terminals_each: int, users: int) -> Fleet:
    """Nodes that are full, with the terminals of `users` users spread over them, all of one tenant."""
    now = farm.clock.now()
    with farm.database.write_as_system() as session:
        tenant_id = farm.identity.bootstrap(session).id
        add_server(session, farm.clock, SERVER, "Load", "127.0.0.1:9")
    user_rows, session_rows, cookies = _users(tenant_id, users, now)
    node_rows, keys = _nodes(tenant_id, nodes, terminals_each, now)
    owned: list[list[str]] = [[] for _ in range(users)]
    members: list[Member] = []
    accounts: list[dict[str, Any]] = []
    terminals: list[dict[str, Any]] = []
    assignments: list[dict[str, Any]] = []
    for node in node_rows:
        hosted = []
        for _ in range(terminals_each):
            number = len(accounts)
            account_id, terminal_id = new_id("acc"), new_id("ter")
            user = number % users
            owned[user].append(account_id)
            accounts.append(
                {
                    "id": account_id,
                    "tenant_id": tenant_id,
                    "user_id": user_rows[user]["id"],
                    "label": f"Account {number}",
                    "login": 100_000 + number,
                    "server": SERVER,
                    "created_at": now,
                }
            )
            terminals.append(_terminal(tenant_id, account_id, terminal_id, now))
            assignments.append(_assignment(tenant_id, terminal_id, node["id"], now))
            hosted.append(Hosted(terminal_id, account_id, 100_000 + number))
        members.append(Member(node["id"], keys[node["id"]], tuple(hosted)))
    with farm.database.write_as_system() as session:
        for model, rows in (
            (User, user_rows),
            (UserSession, session_rows),
            (Node, node_rows),
            (Account, accounts),
            (Terminal, terminals),
            (Assignment, assignments),
        ):
            for chunk in _chunks(rows):
                session.execute(insert(model), chunk)
    for chunk in _chunks(accounts):
        with farm.database.write(tenant_id) as session:
            for account in chunk:
                farm.vault.put_credentials(session, tenant_id, account["id"], f"password of {account['login']}")
    visitors = tuple(Visitor(cookie, tuple(ids)) for cookie, ids in zip(cookies, owned, strict=True))
    return Fleet(tuple(members), visitors)


def _chunks(rows: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]


def _users(tenant_id: str, count: int, now: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    users, sessions, cookies = [], [], []
    for number in range(count):
        secret = secrets.token_urlsafe(32)
        user_id = new_id("usr")
        users.append(
            {
                "id": user_id,
                "tenant_id": tenant_id,
                "email": f"user{number}@load.example",
                "display_name": f"User {number}",
                "role": Role.TRADER,
                "password_hash": "",
                "created_at": now,
            }
        )
        sessions.append(
            {
                "id": new_id("ses"),
                "tenant_id": tenant_id,
                "user_id": user_id,
                "secret_hash": hashlib.sha256(secret.encode()).hexdigest(),
                "created_at": now,
                "expires_at": now + timedelta(days=1),
                "last_seen_at": now,
                "address": "127.0.0.1",
                "user_agent": "load",
                "proved_at": now,
                "second_factor_at": now,
            }
        )
        cookies.append(secret)
    return users, sessions, cookies


def _nodes(tenant_id: str, count: int, slots: int, now: Any) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    rows, keys = [], {}
    for number in range(count):
        key = Ed25519PrivateKey.generate()
        node_id = new_id("nod")
        keys[node_id] = key.private_bytes_raw()
        rows.append(
            {
                "id": node_id,
                "tenant_id": tenant_id,
                "name": f"load-{number}",
                "state": NodeState.ONLINE,
                "identity_key": to_text(key.public_key().public_bytes_raw()),
                "sealing_key": to_text(X25519PrivateKey.generate().public_key().public_bytes_raw()),
                "gateway_address": "127.0.0.1:9",
                "runtimes": ["simulated"],
                "slots": slots + 2,
                "platform": "linux-x86_64",
                "enrolled_at": now,
                "identity_expires_at": now + IDENTITY_LIFETIME,
                "last_seen_at": now,
                "boot_id": "",
                "superseded_boot_id": "",
                "sequence": 0,
                "generation": 1,
                "report": {},
                "protocol": PROTOCOL_VERSION,
            }
        )
    return rows, keys


def _terminal(tenant_id: str, account_id: str, terminal_id: str, now: Any) -> dict[str, Any]:
    return {
        "id": terminal_id,
        "tenant_id": tenant_id,
        "account_id": account_id,
        "intent": Intent.RUNNING,
        "hold": Hold.NONE,
        "last_epoch": 1,
        "placement_note": "",
        "changed_at": now,
        "created_at": now,
    }


def _assignment(tenant_id: str, terminal_id: str, node_id: str, now: Any) -> dict[str, Any]:
    return {
        "id": new_id("asg"),
        "tenant_id": tenant_id,
        "terminal_id": terminal_id,
        "node_id": node_id,
        "epoch": 1,
        "runtime": "simulated",
        "state": AssignmentState.ACTIVE,
        "reserved_at": now,
    }
