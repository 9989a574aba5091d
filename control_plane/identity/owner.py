"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Owner:
    """The user whose rows a query may touch."""

    tenant_id: str
    user_id: str
