"""What a key for programs may do: one small table from kinds of routes to scopes, pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum

from control_plane.identity.state import CARING_ROLES, OPS_ROLES


class KeyScope(StrEnum):
    READ = "read"
    """See accounts, quotes, orders, deals and bots."""
    TRADE = "trade"
    """Place and close orders, and open sessions with terminals."""
    BOTS = "bots"
    """Make, change, start and stop bots."""
    ACCOUNTS = "accounts"
    """Connect, deploy and remove accounts, and replace their passwords."""
    MEMBERS = "members"
    """See the people of the tenant and how their terminals are; for roles that may."""
    FLEET = "fleet"
    """See and operate nodes and jobs; for roles that may."""


_READS = frozenset({"GET", "HEAD"})
_TO_CHANGE: Mapping[str, KeyScope] = {
    "access": KeyScope.TRADE,
    "accounts": KeyScope.ACCOUNTS,
    "backtests": KeyScope.BOTS,
    "bots": KeyScope.BOTS,
    "copying": KeyScope.TRADE,
    "jobs": KeyScope.FLEET,
    "nodes": KeyScope.FLEET,
    "placements": KeyScope.FLEET,
    "trading": KeyScope.TRADE,
}
_TO_READ: Mapping[str, KeyScope] = {
    "access": KeyScope.READ,
    "alerts": KeyScope.READ,
    "copying": KeyScope.READ,
    "accounts": KeyScope.READ,
    "backtests": KeyScope.READ,
    "bots": KeyScope.READ,
    "brokers": KeyScope.READ,
    "jobs": KeyScope.FLEET,
    "nodes": KeyScope.FLEET,
    "placements": KeyScope.FLEET,
    "plans": KeyScope.READ,
    "risk": KeyScope.READ,
    "stream": KeyScope.READ,
    "trading": KeyScope.READ,
    "me": KeyScope.READ,
    "members": KeyScope.MEMBERS,
}


def needed_scope(method: str, tags: Collection[str]) -> KeyScope | None:
    """The scope that a route asks of a key; None when no key will do, as with everything about identity itself."""
    table = _TO_READ if method in _READS else _TO_CHANGE
    scopes = [table.get(tag) for tag in tags]
    return scopes[0] if len(scopes) == 1 else None


def allowed_scopes(role: str) -> frozenset[KeyScope]:
    """The scopes that a user of a role may give to a key."""
    withheld = {
        KeyScope.FLEET: role not in OPS_ROLES,
        KeyScope.MEMBERS: role not in CARING_ROLES,
    }
    return frozenset(scope for scope in KeyScope if not withheld.get(scope, False))
