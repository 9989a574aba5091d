"""Traders and operators: they wish, change their minds, and tell the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr
from sqlalchemy.orm import Session

from control_plane.accounts.schemas import ConnectAccount
from control_plane.assignments.relocation import LeasePolicy
from control_plane.brokers.service import add_server
from control_plane.container import Farm
from control_plane.errors import FarmError
from control_plane.fleet.operations import By
from control_plane.identity.owner import Owner
from control_plane.identity.service import owner_of
from control_plane.identity.state import Role
from control_plane.terminals import repository as terminals_repository
from tests.simulation.agent_core import SERVER
from tests.simulation.database import CrashError

if TYPE_CHECKING:
    from tests.simulation.world import Node, World

_FIRST_LOGIN = 5001
_PASSWORD = "correct horse battery"
_FENCES_ITSELF = 0.5
_LAST_DRAIN = 0.5
_BY = By("ops@example.com", "simulated")


@dataclass
class Connection:
    """An account as its trader connected it."""

    owner: Owner
    account_id: str
    login: int
    password: str
    removed: bool = False


class People:
    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.chance
        self._owners: list[Owner] = []
        self.connections: list[Connection] = []
        self._passwords = 0
        self.calm = False
        self.emptied: Node | None = None
        """The node that nothing may be left on in the end."""

    def arrive(self) -> None:
        world = self._world

        def open_for_business(farm: Farm) -> None:
            with farm.database.write_as_system() as session:
                add_server(session, farm.clock, SERVER, "MT5 Farm", "127.0.0.1:8083")
                self._owners = [
                    owner_of(farm.registration.add_user(session, f"{name}@example.com", _PASSWORD, name, Role.TRADER))
                    for name in ("one", "two")
                ]

        world.plane.perform(open_for_business)
        for index in range(world.scenario.accounts):
            login = _FIRST_LOGIN + index
            world.broker.add(login, "secret-0")
            self._connect(self._owners[index % 2], login, "secret-0")
        for connection in self.connections:
            if self._chance.random() < _FENCES_ITSELF:
                self._set_policy(connection, LeasePolicy.SELF_FENCE)

    async def act(self) -> None:
        """Somebody wants something every now and then."""
        acts: list[tuple[int, Callable[[], None]]] = [
            (4, self._stop_one),
            (6, self._start_one),
            (1, self._remove_one),
            (2, self._change_password),
            (1, self.rival),
            (1, self._connect_another),
            (2, self._change_policy),
            (2, self._drain),
            (2, self._open_node),
            (3, self._move),
            (2, self._confirm_dead),
            (1, self._lift_breaker),
            (1, self._cordon),
        ]
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / 60.0))
            act = self._chance.choices([each for _, each in acts], [weight for weight, _ in acts])[0]
            act()

    def settle(self) -> None:
        """Whoever has not yet entered the password that the broker knows does so."""
        first, self.calm = not self.calm, True
        for node in self._world.nodes:
            facts = self._node_row(node)
            if facts is not None and facts[0] != "open" and node is not self.emptied:
                self._on_node("open", node, lambda farm, sql, node_id: farm.operations.uncordon(sql, node_id, _BY))
            if facts is not None and facts[1] == "locked":
                self._on_node("unlock", node, lambda farm, sql, node_id: farm.operations.unlock(sql, node_id, _BY))
        if first and self._chance.random() < _LAST_DRAIN:
            self._empty_one()
        for connection in self.connections:
            if not connection.removed and connection.password != self._world.broker.accounts[connection.login].password:
                self._enter_password(connection)

    def _empty_one(self) -> None:
        """Drain a node for good: there is room for all on the others."""
        node = self._any_node()
        if self._on_node(
            "empty", node, lambda farm, sql, node_id: farm.operations.drain(sql, node_id, timedelta(0), _BY)
        ):
            self.emptied = node

    def _try(self, what: str, work: Callable[[Farm], Any]) -> Any:
        """None when the farm is down or says no."""
        if self._world.plane.process is None or not self._world.plane.process.running:
            return None
        try:
            answer = self._world.plane.perform(work)
        except (FarmError, CrashError) as error:
            if not self.calm:
                self._world.note(f"{what}: {getattr(error, 'code', 'crashed')}")
            return None
        self._world.counts["wishes"] += 1
        self._world.note(what)
        return answer

    def _pick(self) -> Connection | None:
        present = [connection for connection in self.connections if not connection.removed]
        return self._chance.choice(present) if present else None

    def _connect(self, owner: Owner, login: int, password: str) -> None:
        wish = ConnectAccount(label="Main", login=login, password=SecretStr(password), server=SERVER)

        def connect(farm: Farm) -> str:
            with farm.database.write_as_system() as session:
                return farm.accounts.connect(session, owner, wish)

        account_id = self._try(f"connect {login}", connect)
        if account_id is not None:
            self.connections.append(Connection(owner, account_id, login, password))

    def _on_account(self, what: str, connection: Connection, work: Callable[[Farm, Session], None]) -> bool:
        def perform(farm: Farm) -> bool:
            with farm.database.write_as_system() as session:
                work(farm, session)
            return True

        return bool(self._try(f"{what} {connection.login}", perform))

    def _stop_one(self) -> None:
        if one := self._pick():
            self._on_account("stop", one, lambda farm, sql: farm.accounts.undeploy(sql, one.owner, one.account_id))

    def _start_one(self) -> None:
        if one := self._pick():
            self._on_account("start", one, lambda farm, sql: farm.accounts.deploy(sql, one.owner, one.account_id))

    def _remove_one(self) -> None:
        if one := self._pick():
            one.removed = self._on_account(
                "remove", one, lambda farm, sql: farm.accounts.remove(sql, one.owner, one.account_id)
            )

    def _change_password(self) -> None:
        if one := self._pick():
            self._passwords += 1
            self._world.broker.accounts[one.login].password = f"secret-{self._passwords}"
            delay = self._chance.choice((0.0, 30.0, 200.0))
            self._world.network.later(delay, lambda: self._enter_password(one))

    def _enter_password(self, one: Connection) -> None:
        password = self._world.broker.accounts[one.login].password
        if self._on_account(
            "password of",
            one,
            lambda farm, sql: farm.accounts.change_password(sql, one.owner, one.account_id, password),
        ):
            one.password = password

    def rival(self) -> None:
        """Somebody else connects the same login, rightly or not."""
        if one := self._pick():
            other = next(owner for owner in self._owners if owner != one.owner)
            right = self._world.broker.accounts[one.login].password
            self._connect(other, one.login, self._chance.choice((right, "guess")))

    def _set_policy(self, one: Connection, policy: LeasePolicy) -> None:
        def change(farm: Farm, sql: Session) -> None:
            terminal = terminals_repository.of_account(sql, one.owner.tenant_id, one.account_id)
            farm.assignments.set_lease_policy(sql, terminal, policy)

        self._on_account(f"policy {policy.value} for", one, change)

    def protect(self, node: Node) -> None:
        """Whoever has a terminal on this node wants it to fence itself from now on."""
        held = self._world.database.query(
            "SELECT t.account_id FROM assignments s JOIN terminals t ON t.id = s.terminal_id "
            "WHERE s.node_id = ? AND s.released_at IS NULL",
            node.identity.node_id,
        )
        accounts = {str(row[0]) for row in held}
        for connection in self.connections:
            if connection.account_id in accounts and not connection.removed and not self.calm:
                self._set_policy(connection, LeasePolicy.SELF_FENCE)

    def _change_policy(self) -> None:
        if one := self._pick():
            self._set_policy(one, self._chance.choice(list(LeasePolicy)))

    def _node_row(self, node: Node) -> tuple[Any, ...] | None:
        rows = self._world.database.query(
            "SELECT availability, identity_state, state FROM nodes WHERE id = ?", node.identity.node_id
        )
        return rows[0] if rows else None

    def _on_node(self, what: str, node: Node, work: Callable[[Farm, Session, str], Any]) -> bool:
        def perform(farm: Farm) -> bool:
            with farm.database.write_as_system() as session:
                work(farm, session, node.identity.node_id)
            return True

        return bool(self._try(f"{what} {node.host.name}", perform))

    def _any_node(self) -> Node:
        return self._chance.choice(self._world.nodes)

    def _drain(self) -> None:
        within = timedelta(seconds=self._chance.choice((0.0, 30.0, 200.0)))
        self._on_node(
            "drain", self._any_node(), lambda farm, sql, node_id: farm.operations.drain(sql, node_id, within, _BY)
        )

    def _cordon(self) -> None:
        self._on_node("cordon", self._any_node(), lambda farm, sql, node_id: farm.operations.cordon(sql, node_id, _BY))

    def _open_node(self) -> None:
        for node in self._world.nodes:
            facts = self._node_row(node)
            if facts is not None and facts[0] != "open":
                self._on_node("open", node, lambda farm, sql, node_id: farm.operations.uncordon(sql, node_id, _BY))
                return

    def _move(self) -> None:
        node, with_positions = self._any_node(), self._chance.random() < 0.5
        held = self._held_by(node)
        if held:
            terminal_id = self._chance.choice(held)
            self._on_node(
                f"move {terminal_id[-4:]} away from",
                node,
                lambda farm, sql, node_id: farm.operations.move(
                    sql, node_id, terminal_id, _BY, with_positions=with_positions
                ),
            )

    def empty_all_but(self, kept: Node) -> None:
        self._on_all_but(
            kept, "drain", lambda farm, sql, node_id: farm.operations.drain(sql, node_id, timedelta(0), _BY)
        )

    def close_all_but(self, kept: Node) -> None:
        self._on_all_but(kept, "cordon", lambda farm, sql, node_id: farm.operations.cordon(sql, node_id, _BY))

    def _on_all_but(self, kept: Node, what: str, work: Callable[[Farm, Session, str], Any]) -> None:
        for node in self._world.nodes:
            facts = self._node_row(node)
            if node is not kept and facts is not None and facts[0] == "open" and not self.calm:
                self._on_node(what, node, work)

    def open_all(self) -> None:
        for _ in self._world.nodes:
            self._open_node()

    def send_away(self, node: Node) -> str | None:
        """Move a terminal off this node, whatever is open in its account. Which one."""
        held = self._held_by(node)
        if not held:
            return None
        terminal_id = self._chance.choice(held)
        moved = self._on_node(
            f"move {terminal_id[-4:]} away from",
            node,
            lambda farm, sql, node_id: farm.operations.move(sql, node_id, terminal_id, _BY, with_positions=True),
        )
        return terminal_id if moved else None

    def _held_by(self, node: Node) -> list[str]:
        rows = self._world.database.query(
            "SELECT terminal_id FROM assignments WHERE node_id = ? AND released_at IS NULL ORDER BY terminal_id",
            node.identity.node_id,
        )
        return [str(row[0]) for row in rows]

    def _confirm_dead(self) -> None:
        """Only of a machine that is off. It may well be switched on again later."""
        off = [node for node in self._world.nodes if not node.host.powered]
        if off:
            self._on_node(
                "confirm dead",
                self._chance.choice(off),
                lambda farm, sql, node_id: farm.operations.confirm_dead(sql, node_id, _BY),
            )

    def _lift_breaker(self) -> None:
        self._on_node(
            "lift breaker", self._any_node(), lambda farm, sql, _node: farm.mass_loss.lift(sql, _BY.actor, _BY.reason)
        )

    def _connect_another(self) -> None:
        login = _FIRST_LOGIN + len(self._world.broker.accounts)
        if login < _FIRST_LOGIN + self._world.scenario.nodes * self._world.scenario.slots - self._world.scenario.slots:
            self._world.broker.add(login, "secret-0")
            self._connect(self._chance.choice(self._owners), login, "secret-0")
