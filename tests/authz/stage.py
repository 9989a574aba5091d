"""A farm with two tenants, a person in every role of each, and everything that one can own, behind real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import delete, select

from control_plane.app import create_agent_app, create_app, create_operations_app
from control_plane.db.tables import METADATA
from control_plane.identity.model import AttemptLane, Passkey, User, UserSession
from control_plane.identity.owner import Owner
from control_plane.identity.scopes import KeyScope, allowed_scopes
from control_plane.identity.sessions import Browser
from control_plane.identity.state import Role, UserKind
from control_plane.ids import new_id
from control_plane.strategies.schemas import Declaration
from control_plane.strategies.service import Checked
from mt5_bridge.sandbox.inspection import Finding
from node_agent.protocol.messages import Phase
from tests.tenants import BACKTEST, BOT, add_tenant, move_user
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
_DECLARED = {"kind": "strategy", "title": "Own", "help": "", "parameters": []}
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
    backtest_id: str
    strategy_id: str
    """Of one that this person has uploaded."""
    user_id: str
    session_id: str
    """Of a second browser, which nobody uses."""
    key_id: str
    """Of a key for programs."""
    test_id: str
    """Of a test of a connection that has not ended."""
    passkey_id: str
    invitation_id: str
    """Of one that went out in this person's name."""
    service_id: str
    """Of a service account of the tenant."""
    service_key_id: str
    threshold_id: str
    webhook_id: str
    copier_id: str
    copy_invitation_id: str
    other_account_id: str
    """Another account, which nobody deploys."""
    recovery_codes: list[str]
    """Each is good for one proof."""
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
    operations: str

    def address(self, application: str) -> str:
        return {"portal": self.portal, "agent": self.agents, "operations": self.operations}[application]

    def spare(self, about: Person) -> Person:
        """The same with an invitation and a service account that nobody needs."""
        invitation_id, service_id, service_key_id = _for_the_tenant(self.world, about.user_id)
        return replace(about, invitation_id=invitation_id, service_id=service_id, service_key_id=service_key_id)

    def key(self, user_id: str, *scopes: KeyScope) -> str:
        """The text of a new key with these scopes, whoever's it is."""
        farm = self.world.farm
        with farm.database.write_as_system() as session:
            user = session.get_one(User, user_id)
            return farm.api_keys.make(session, user, "Key", scopes, None).text

    def program(self, tenant: str, role: Role) -> str:
        """A key of a service account of a role, with every scope that it can have."""
        farm = self.world.farm
        tenant_of = next(each for each in self.people if each.tenant == tenant).user_id
        with farm.database.write_as_system() as session:
            user = User(
                id=new_id("svc"),
                tenant_id=session.get_one(User, tenant_of).tenant_id,
                email=f"{new_id('svc')}@service.invalid",
                display_name="Program",
                role=role,
                password_hash="",
                kind=UserKind.SERVICE,
                created_at=farm.clock.now(),
            )
            session.add(user)
        return self.key(user.id, *allowed_scopes(role))

    def spare_node(self) -> str:
        """Id of a node that nobody needs."""
        return self.world.node(name=new_id("spare")[-12:]).node_id

    def rows(self) -> dict[str, Any]:
        """What the database holds, by table; the traces of requests as such left out."""
        passing = {"seen_requests", "attempt_lanes", "alembic_version"}
        with self.world.farm.database.read_as_system() as session:
            return {
                table.name: sorted(map(repr, session.execute(select(table))))
                for table in METADATA.sorted_tables
                if table.name not in passing
            }

    def forget_attempts(self) -> None:
        """Nobody waits because of what others have tried from the same address."""
        with self.world.farm.database.write_as_system() as session:
            session.execute(delete(AttemptLane))


@contextmanager
def raised(data: Path, **settings: Any) -> Iterator[Stage]:
    """The farm's loops do not run: whatever changes, a request has done it."""
    world = build_world(data, portal_dist=data / "dist", **settings)
    with ExitStack() as ends:
        ends.callback(world.farm.stop)
        # Who may upload is asked here; what a sandbox finds is not.
        world.farm.strategies._inspect = lambda _: Finding(declared=_DECLARED)
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
        operations = ends.enter_context(_served(create_operations_app(world.farm)))
        yield Stage(world, people, node, portal, agents, operations)


def _member(world: World, tenant_id: str, email: str, role: Role) -> Trader:
    person = world.trader(email)
    if tenant_id:
        move_user(world, person.user["id"], tenant_id)
    person.enrol_second_factor()
    world.give_role(person, role)
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
    backtest = member.call("POST", "/backtests", 202, {**BACKTEST, "account_id": account_id})
    codes = member.call("POST", "/auth/second-factor/recovery-codes")["codes"]
    key = member.call("POST", "/auth/api-keys", 201, {"name": "Script", "scopes": ["read"]})
    tried = {"login": int(account["login"]) + 100_000, "password": "broker-secret", "server": account["server"]}
    test_id = member.call("POST", "/connection-tests", 202, tried)["id"]
    session_id = _second_browser(world, email)
    passkey_id, others = _passkey(world, member), _for_the_tenant(world, member.user["id"])
    strategy_id = _strategy(world, member)
    other = {"login": int(account["login"]) + 200_000, "password": "broker-secret", "server": account["server"]}
    other_account_id = member.call("POST", "/accounts", 201, {**other, "label": "Other"})["id"]
    member.call("POST", f"/accounts/{other_account_id}/undeploy", 202)
    limit = {"account_id": account_id, "kind": "equity_below", "value": "1"}
    threshold_id = member.call("POST", "/alerts/thresholds", 201, limit)["id"]
    webhook_id = member.call("POST", "/webhooks", 201, {"url": "https://example.com/hook"})["id"]
    following = {"follower_account_id": other_account_id, "leader_account_id": account_id}
    copier_id = member.call("POST", "/copiers", 201, following)["id"]
    copy_invitation_id = member.call("POST", "/copy-invitations", 201, {"account_id": account_id})["id"]
    owned = (
        strategy_id,
        member.user["id"],
        account_id,
        terminal_id,
        bot["id"],
        backtest["id"],
        session_id,
        key["id"],
        test_id,
        passkey_id,
        *others,
        threshold_id,
        webhook_id,
        copier_id,
        copy_invitation_id,
        other_account_id,
    )
    return Person(
        tenant=tenant,
        role=role,
        email=email,
        cookies=dict(member.http.cookies),
        account_id=account_id,
        terminal_id=terminal_id,
        bot_id=bot["id"],
        backtest_id=backtest["id"],
        strategy_id=strategy_id,
        user_id=member.user["id"],
        session_id=session_id,
        key_id=key["id"],
        test_id=test_id,
        passkey_id=passkey_id,
        invitation_id=others[0],
        service_id=others[1],
        service_key_id=others[2],
        threshold_id=threshold_id,
        webhook_id=webhook_id,
        copier_id=copier_id,
        copy_invitation_id=copy_invitation_id,
        other_account_id=other_account_id,
        recovery_codes=codes,
        marks=(email, *owned, str(account["login"])),
    )


def _strategy(world: World, member: Trader) -> str:
    """It is there to be asked about; nothing of it is run."""
    farm, user_id = world.farm, member.user["id"]
    declared = Declaration(kind="strategy", title="Own", help="", parameters=[])
    owner = Owner(_tenant_of(world, user_id), user_id)
    with farm.database.write(owner.tenant_id) as session:
        return farm.strategies.create(session, owner, "Own", Checked(b"packed", "main.py", declared), "")


def _passkey(world: World, member: Trader) -> str:
    """It is there to be asked about; nobody uses it."""
    row = Passkey(
        id=new_id("pky"),
        tenant_id=_tenant_of(world, member.user["id"]),
        user_id=member.user["id"],
        name="Phone",
        credential_id=new_id("pky")[-24:],
        public_key=b"",
        sign_count=0,
        authenticator="",
        backed_up=False,
        created_at=world.clock.now(),
    )
    with world.farm.database.write_as_system() as session:
        session.add(row)
    return row.id


def _for_the_tenant(world: World, user_id: str) -> tuple[str, str, str]:
    """Ids of an invitation in somebody's name, of a service account of their tenant, of its key; as if they might."""
    farm = world.farm
    with farm.database.write_as_system() as session:
        user = session.get_one(User, user_id)
        address, lasts = f"{new_id('guest')}@example.com", timedelta(days=7)
        invited = farm.invitations.put(session, user.tenant_id, user.email, address, Role.TRADER, lasts)
        owner = User(id=user.id, tenant_id=user.tenant_id, email=user.email, role=Role.OWNER)
        made = farm.service_accounts.make(session, owner, "Program", Role.TRADER)
        key = farm.service_accounts.make_key(session, owner, made.id, "Key", {KeyScope.READ}, None)
        return invited.id, made.id, key.row.id


def _tenant_of(world: World, user_id: str) -> str:
    with world.farm.database.read_as_system() as session:
        return session.get_one(User, user_id).tenant_id


def _second_browser(world: World, email: str) -> str:
    farm = world.farm
    with farm.database.write_as_system() as session:
        farm.sessions.open(session, farm.identity.require_user(session, email), Browser(), second_factor=True)
    with farm.database.read_as_system() as session:
        query = select(UserSession.id).join(User, User.id == UserSession.user_id).where(User.email == email)
        return str(session.scalars(query.order_by(UserSession.id.desc())).first())


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    """Address of an application on a port of its own."""
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="auto")
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
