"""A farm with two tenants, a person in every role of each, and everything that one can own, behind real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import select

from control_plane.app import create_agent_app, create_app
from control_plane.db.tables import METADATA
from control_plane.identity.state import Role
from control_plane.ids import new_id
from node_agent.protocol.messages import Phase
from tests.tenants import BOT, add_tenant, move_user
from tests.unit.control_plane.world import (
    NodePlayer,
    Trader,
    World,
    build_world,
    deal_body,
    event,
    observed,
    snapshot,
)

TENANTS = ("operator", "broker")
_PEOPLE = len(TENANTS) * len(Role)


@dataclass(frozen=True)
class Person:
    """Somebody in a role of a tenant, and what is theirs."""

    tenant: str
    role: Role
    email: str
    cookies: dict[str, str]
    account_id: str
    terminal_id: str
    bot_id: str
    user_id: str
    marks: tuple[str, ...]
    """Texts that only answers about this person's things contain."""

    @property
    def column(self) -> str:
        return f"{self.tenant}:{self.role}"


@dataclass(frozen=True)
class Stage:
    world: World
    people: tuple[Person, ...]
    node: NodePlayer
    """It holds everybody's terminals."""
    portal: str
    agents: str

    def spare_node(self) -> str:
        """Id of a node that nobody needs."""
        return self.world.node(name=new_id("spare")[-12:]).node_id

    def rows(self) -> dict[str, Any]:
        """What the database holds, by table; the traces of requests as such left out."""
        passing = {"seen_requests", "user_sessions", "sign_in_failures", "alembic_version"}
        with self.world.farm.database.read_as_system() as session:
            return {
                table.name: sorted(map(repr, session.execute(select(table))))
                for table in METADATA.sorted_tables
                if table.name not in passing
            }


@contextmanager
def raised(data: Path, **settings: Any) -> Iterator[Stage]:
    """The farm's loops do not run: whatever changes, a request has done it."""
    world = build_world(data, portal_dist=data / "dist", **settings)
    with ExitStack() as ends:
        ends.callback(world.farm.stop)
        node = world.node(slots=_PEOPLE)
        tenants = {"operator": "", "broker": add_tenant(world, "broker")}
        members = [
            (tenant, role, _member(world, tenants[tenant], f"{role}@{tenant}.example", role))
            for tenant in TENANTS
            for role in Role
        ]
        connected = [member.connect(7_100_001 + number) for number, (_, _, member) in enumerate(members)]
        world.run_loops()
        _make_ready(world, node, [int(each["login"]) for each in connected])
        people = tuple(
            _person(world, node, tenant, role, member, account)
            for (tenant, role, member), account in zip(members, connected, strict=True)
        )
        portal = ends.enter_context(_served(create_app(world.farm)))
        agents = ends.enter_context(_served(create_agent_app(world.farm)))
        yield Stage(world, people, node, portal, agents)


def _member(world: World, tenant_id: str, email: str, role: Role) -> Trader:
    person = world.operator(role, email)
    if tenant_id:
        move_user(world, person.user["id"], tenant_id)
    return person


def _make_ready(world: World, node: NodePlayer, logins: list[int]) -> None:
    wanted = {each.login: each for each in node.fetch().terminals}
    node.sync(*(observed(wanted[login], phase=Phase.READY, account=snapshot(login), flat=True) for login in logins))
    for number, login in enumerate(logins):
        node.deliver(event(wanted[login], f"evt_{login}", deal_body(number + 1, comment=f"deal of {login}")))
        world.terminal(wanted[login]).open_position(1)


def _person(world: World, node: NodePlayer, tenant: str, role: Role, member: Trader, account: dict[str, Any]) -> Person:
    email, account_id, terminal_id = member.user["email"], account["id"], account["terminal"]["id"]
    bot = member.call("POST", "/bots", 201, {**BOT, "account_id": account_id})
    marks = (email, member.user["id"], account_id, terminal_id, bot["id"], str(account["login"]))
    return Person(tenant, role, email, dict(member.http.cookies), account_id, terminal_id, bot["id"], marks[1], marks)


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    """Address of an application on a port of its own."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            httpx.get(f"{url}/healthz", timeout=30).raise_for_status()
            yield url
        finally:
            server.should_exit = server.force_exit = True
            thread.join(30)
