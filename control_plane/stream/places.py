"""How many streams may be open at a time."""

from __future__ import annotations

import threading
from collections import Counter

from control_plane.config import Settings
from control_plane.errors import RateLimitedError
from control_plane.identity.owner import Owner
from control_plane.limits.tenants import TenantRates

_RETRY_SECONDS = 15


class StreamPlaces:
    """Counts the streams of this process. From any thread."""

    def __init__(self, settings: Settings, tenants: TenantRates) -> None:
        self._of_user = settings.streams_of_user
        self._of_tenant = settings.streams_of_tenant
        self._tenants = tenants
        self._lock = threading.Lock()
        self._users: Counter[str] = Counter()
        self._in_tenants: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        with self._lock:
            return self._users.total()

    def take(self, owner: Owner) -> None:
        """To be left again. Raises RateLimitedError."""
        own = self._tenants.of(owner.tenant_id)
        with self._lock:
            if self._users[owner.user_id] >= (own.streams_of_user or self._of_user):
                raise _full("You have too many live connections open; close other windows of the portal.")
            if self._in_tenants[owner.tenant_id] >= (own.streams_of_tenant or self._of_tenant):
                raise _full("Your organisation has too many live connections open.")
            self._users[owner.user_id] += 1
            self._in_tenants[owner.tenant_id] += 1

    def leave(self, owner: Owner) -> None:
        with self._lock:
            self._users[owner.user_id] -= 1
            self._in_tenants[owner.tenant_id] -= 1
            # Without those that have none any more.
            self._users, self._in_tenants = +self._users, +self._in_tenants


def _full(text: str) -> RateLimitedError:
    return RateLimitedError(text, code="too_many_streams", retryable=True, retry_after=_RETRY_SECONDS)
