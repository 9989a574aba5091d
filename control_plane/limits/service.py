"""Counts requests against the budgets of whoever makes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from control_plane.clock import Clock
from control_plane.config import Settings
from control_plane.errors import RateLimitedError
from control_plane.identity.attempts import network_of
from control_plane.identity.sessions import Caller
from control_plane.limits.lanes import Lane
from control_plane.limits.memory import MemoryBudgets
from control_plane.limits.port import Budgets
from control_plane.limits.rate import Bucket, Rate, Standing
from control_plane.limits.tenants import TenantRates

_WHOSE = {
    "key": "this key",
    "user": "you",
    "tenant": "your organisation",
    "address": "your network address, as nobody who has proved who they are",
    "node": "this node",
    "exit": "closing and stopping",
}

BUDGETS = tuple(_WHOSE)
"""Names of all budgets."""


@dataclass(frozen=True)
class Rates:
    """Budgets of one tenant's people."""

    key: Rate
    user: Rate
    tenant: Rate
    exit: Rate

    @classmethod
    def of(cls, settings: Settings) -> Rates:
        return cls(
            key=Rate.parse(settings.requests_of_key),
            user=Rate.parse(settings.requests_of_user),
            tenant=Rate.parse(settings.requests_of_tenant),
            exit=Rate.parse(settings.requests_to_exit),
        )


class Limits:
    """Every method answers how the caller stands, also when the request must be refused: see `require`."""

    def __init__(self, budgets: Budgets, tenants: TenantRates, settings: Settings, clock: Clock) -> None:
        self._budgets = budgets
        self._of_nodes = MemoryBudgets()
        self._tenants = tenants
        self._rates = Rates.of(settings)
        self._of_address = Rate.parse(settings.requests_of_address)
        self._of_node = Rate.parse(settings.requests_of_node)
        self._clock = clock
        self.refused: Counter[str] = Counter()
        """By the name of the budget that was at its end."""

    def caller(self, caller: Caller, lane: Lane) -> Standing:
        """A request of somebody who has proved who they are."""
        key, user, rates = caller.api_key, caller.user, self._rates
        own = self._tenants.of(user.tenant_id)
        if lane is Lane.EXIT:
            # A key that runs wild must not keep its owner from closing, nor one user the others of the tenant.
            who = f"user.{user.id}" if key is None else f"key.{key.id}"
            return self._take([Bucket("exit", f"exit.{who}", rates.exit)])
        buckets = [
            Bucket("user", f"user.{user.id}", own.user or rates.user),
            Bucket("tenant", f"tenant.{user.tenant_id}", own.tenant or rates.tenant),
        ]
        if key is not None:
            buckets.append(Bucket("key", f"key.{key.id}", own.key or rates.key))
        return self._take(buckets)

    def stranger(self, address: str) -> Standing:
        """A request of nobody known, or one whose proof was wrong."""
        return self._take([Bucket("address", f"address.{network_of(address)}", self._of_address)])

    def node(self, node_id: str) -> Standing:
        """Before a node's signature is checked. Takes nothing, so that forged requests do not shut the real one out."""
        return self._told(self._of_nodes.look(self._node_bucket(node_id), self._now()))

    def node_answered(self, node_id: str) -> None:
        """A request that it had really signed. Counted in this process alone: syncs must not wait for Redis."""
        self._of_nodes.take([self._node_bucket(node_id)], self._now())

    def enrolment(self, address: str) -> Standing:
        """Before a token is looked at. Takes nothing: only wrong tokens count."""
        return self._told(self._of_nodes.look(self._enrolment_bucket(address), self._now()))

    def enrolment_refused(self, address: str) -> None:
        self._of_nodes.take([self._enrolment_bucket(address)], self._now())

    def _node_bucket(self, node_id: str) -> Bucket:
        return Bucket("node", f"node.{node_id}", self._of_node)

    def _enrolment_bucket(self, address: str) -> Bucket:
        return Bucket("address", f"enrolment.{network_of(address)}", self._of_address)

    def _take(self, buckets: list[Bucket]) -> Standing:
        return self._told(self._budgets.take(buckets, self._now()))

    def _told(self, found: Standing) -> Standing:
        if not found.allowed:
            self.refused[found.name] += 1
        return found

    def _now(self) -> int:
        return round(self._clock.now().timestamp() * 1_000_000)


def require(found: Standing) -> None:
    """Raises RateLimitedError when the request must be refused."""
    if found.allowed:
        return
    raise RateLimitedError(
        f"Too many requests: {found.rate.count} in {found.rate.seconds} s are for {_WHOSE[found.name]}. "
        f"Please wait {found.retry_after} s.",
        retryable=True,
        retry_after=found.retry_after,
    )
