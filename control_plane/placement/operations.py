"""What operators say about where terminals go. Every deed is written down with who did it and why."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.errors import ConflictError, NotFoundError, invalid_field
from control_plane.fleet.model import Node
from control_plane.fleet.operations import By, require_node
from control_plane.fleet.service import NodePlace
from control_plane.identity import repository as identity_repository
from control_plane.identity.model import Tenant
from control_plane.identity.state import OPERATOR
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.placement import repository
from control_plane.placement.candidates import DEFAULT_POOL
from control_plane.placement.model import Pool, TenantPlacement
from control_plane.placement.schemas import SetDemand, SetNode, SetPool, SetTenant
from control_plane.terminals.model import Terminal


class PlacementOperations:
    """All raise NotFoundError for what does not exist, InvalidInputError and ConflictError for what cannot be."""

    def __init__(self, outbox: Outbox, audit: Audit, clock: Clock) -> None:
        self._outbox = outbox
        self._audit = audit
        self._clock = clock

    def set_node(self, session: Session, node_id: str, wish: SetNode, by: By) -> None:
        """What runs there stays, also in another pool or region; only a node without others' terminals is dedicated."""
        node = require_node(session, node_id)
        before = _facts(node)
        if wish.pool is not None:
            require_pool(session, wish.pool)
            node.pool = wish.pool
        if wish.dedicated_tenant_id is not None:
            self._dedicate(session, node, wish.dedicated_tenant_id)
        node.region = node.region if wish.region is None else wish.region
        node.labels = node.labels if wish.labels is None else dict(wish.labels)
        if wish.outgoing_address is not None:
            node.outgoing_address = str(wish.outgoing_address)
        deed = Deed(by.actor, "set_node", node.id, by.reason, before=before, after=_facts(node))
        self._audit.record(session, node.tenant_id, deed)
        self._place_again(session, node.id)

    def of_new_node(self, session: Session, wish: SetNode) -> NodePlace:
        """What a node will be from its first moment on."""
        if wish.pool is not None:
            require_pool(session, wish.pool)
        if wish.dedicated_tenant_id:
            _require_tenant(session, wish.dedicated_tenant_id)
        return NodePlace(
            wish.pool or DEFAULT_POOL, wish.region or "", dict(wish.labels or {}), wish.dedicated_tenant_id or None
        )

    def set_pool(self, session: Session, name: str, wish: SetPool, by: By) -> None:
        """Make a pool or change it. Holds for the next places."""
        row = repository.pool(session, name)
        before = None if row is None else _pool_facts(row)
        if row is None:
            row = Pool(name=name)
            session.add(row)
        row.strategy, row.labels, row.terminal_memory = wish.strategy, dict(wish.labels), wish.terminal_memory
        row.changed_at = self._clock.now()
        self._record(session, Deed(by.actor, "set_pool", name, by.reason, before=before, after=_pool_facts(row)))
        self._place_again(session, name)

    def remove_pool(self, session: Session, name: str, by: By) -> None:
        """Only one that no node is in and nobody asks for. The pool `default` is as if it had never been changed."""
        row = repository.pool(session, name)
        if row is None:
            raise NotFoundError(f"There is no pool {name}.", code="pool_not_found")
        nodes, asking = repository.nodes_in(session, name), repository.terminals_that_want(session, name)
        if name != DEFAULT_POOL and (nodes or asking):
            raise ConflictError(
                f"{nodes} nodes are in the pool {name} and {asking} terminals or tenants ask for it; "
                "give them another pool first.",
                code="pool_in_use",
            )
        self._record(session, Deed(by.actor, "remove_pool", name, by.reason, before=_pool_facts(row)))
        session.delete(row)

    def set_tenant(self, session: Session, tenant_id: str, wish: SetTenant, by: By) -> None:
        """For all terminals of a tenant; holds for their next places."""
        if session.get(Tenant, tenant_id) is None:
            raise NotFoundError("There is no such tenant.", code="tenant_not_found")
        if wish.pool:
            require_pool(session, wish.pool)
        row = session.get(TenantPlacement, tenant_id)
        before = None if row is None else {"pool": row.pool, "only_dedicated": row.only_dedicated}
        if row is None:
            row = TenantPlacement(tenant_id=tenant_id)
            session.add(row)
        row.pool, row.only_dedicated = wish.pool, wish.only_dedicated
        after = {"pool": row.pool, "only_dedicated": row.only_dedicated}
        self._record(session, Deed(by.actor, "set_tenant_placement", tenant_id, by.reason, before=before, after=after))
        self._place_again(session, tenant_id)

    def set_demand(self, session: Session, terminal_id: str, wish: SetDemand, by: By) -> None:
        """What one terminal asks of its next node."""
        terminal = require_terminal(session, terminal_id)
        if wish.pool:
            require_pool(session, wish.pool)
        before = _demand_facts(terminal)
        terminal.wanted_pool, terminal.wanted_region = wish.pool, wish.region
        terminal.wanted_labels = dict(wish.labels)
        deed = Deed(by.actor, "set_demand", terminal_id, by.reason, before=before, after=_demand_facts(terminal))
        self._audit.record(session, terminal.tenant_id, deed)
        self._place_again(session, terminal_id)

    def _dedicate(self, session: Session, node: Node, tenant_id: str) -> None:
        """The node is held, so that nobody else's terminal comes to it meanwhile."""
        if not tenant_id:
            node.dedicated_tenant_id = None
            return
        _require_tenant(session, tenant_id)
        foreign = repository.foreign_terminals(session, node.id, tenant_id)
        if foreign:
            raise ConflictError(
                f"{foreign} terminals of other tenants are on this node; move them away first.",
                code="foreign_terminals",
            )
        node.dedicated_tenant_id = tenant_id

    def _place_again(self, session: Session, subject_id: str) -> None:
        """Somebody may have waited for just this."""
        self._outbox.put(session, JobKind.PLACE_TERMINAL, subject_id)

    def _record(self, session: Session, deed: Deed) -> None:
        """The fleet belongs to the operator."""
        operator = identity_repository.tenant_by_kind(session, OPERATOR)
        assert operator is not None, "the operator's tenant is made at the first start"
        self._audit.record(session, operator.id, deed)


def require_pool(session: Session, name: str) -> None:
    """Raises InvalidInputError."""
    if name != DEFAULT_POOL and repository.pool(session, name) is None:
        known = ", ".join(sorted({DEFAULT_POOL, *(each.name for each in repository.pools(session))}))
        raise invalid_field("pool", f"There is no pool {name}; there are {known}.", code="unknown_pool")


def _require_tenant(session: Session, tenant_id: str) -> None:
    if session.get(Tenant, tenant_id) is None:
        raise invalid_field("dedicated_tenant_id", f"There is no tenant {tenant_id}.", code="unknown_tenant")


def require_terminal(session: Session, terminal_id: str) -> Terminal:
    """Raises NotFoundError."""
    terminal = session.get(Terminal, terminal_id)
    if terminal is None:
        raise NotFoundError("There is no such terminal.", code="terminal_not_found")
    return terminal


def _facts(node: Node) -> dict[str, Any]:
    return {
        "pool": node.pool,
        "region": node.region,
        "labels": dict(node.labels),
        "dedicated_tenant_id": node.dedicated_tenant_id,
        "outgoing_address": node.outgoing_address,
    }


def _pool_facts(pool: Pool) -> dict[str, Any]:
    return {"strategy": str(pool.strategy), "labels": dict(pool.labels), "terminal_memory": pool.terminal_memory}


def _demand_facts(terminal: Terminal) -> dict[str, Any]:
    return {
        "pool": terminal.wanted_pool,
        "region": terminal.wanted_region,
        "labels": dict(terminal.wanted_labels),
    }
