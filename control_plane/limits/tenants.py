"""What the plans of tenants give them instead of the farm's own limits, as the database has it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from control_plane.db.engine import Database
from control_plane.limits import repository
from control_plane.limits.model import TenantLimits
from control_plane.limits.rate import Rate

_FRESH_SECONDS = 30.0
"""A change is in force everywhere after so long; until then no request asks the database for it."""


@dataclass(frozen=True)
class OwnLimits:
    """None keeps the farm's."""

    key: Rate | None = None
    user: Rate | None = None
    tenant: Rate | None = None
    streams_of_user: int | None = None
    streams_of_tenant: int | None = None


_NONE = OwnLimits()


class TenantRates:
    """Safe to call from any thread."""

    def __init__(self, database: Database, seconds: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._seconds = seconds
        self._known: dict[str, OwnLimits] = {}
        self._read_at = -_FRESH_SECONDS

    def of(self, tenant_id: str) -> OwnLimits:
        now = self._seconds()
        if now - self._read_at >= _FRESH_SECONDS:
            self._read_at = now  # first, so that of many requests at once few read
            with self._database.read_as_system() as session:
                self._known = {row.tenant_id: _limits(row) for row in repository.every(session)}
        return self._known.get(tenant_id, _NONE)


def _limits(row: TenantLimits) -> OwnLimits:
    rates = (row.requests_of_key, row.requests_of_user, row.requests_of_tenant)
    key, user, tenant = (None if each is None else Rate.parse(each) for each in rates)
    return OwnLimits(key, user, tenant, row.streams_of_user, row.streams_of_tenant)
