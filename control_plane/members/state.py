"""Who looks after the people of their own tenant, and which roles they may give."""

from __future__ import annotations

from control_plane.identity.state import Role

MAY_CHANGE = frozenset({Role.BROKER_ADMIN, Role.OWNER})
_PLAIN = frozenset({Role.TRADER, Role.SUPPORT})
"""Roles that a broker_admin gives and takes; all others are the owner's to give."""


def may_change_role(by: Role, before: Role, after: Role) -> bool:
    """Whether somebody in one role may move somebody else of their tenant from a role to another."""
    if by is Role.OWNER:
        return True
    return by in MAY_CHANGE and before in _PLAIN and after in _PLAIN
