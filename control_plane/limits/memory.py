"""Budgets of a farm that runs in one process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from control_plane.limits.rate import Bucket, Standing, after_one, nearest_to_its_end, standing

_MOST = 50_000


class MemoryBudgets:
    """Never more than 50,000 at a time: who asks from ever new addresses must not fill the memory."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._full_at: dict[str, int] = {}

    @property
    def problem(self) -> str:
        return ""

    def take(self, buckets: Sequence[Bucket], now: int) -> Standing:
        with self._lock:
            before = [self._full_at.get(each.key, 0) for each in buckets]
            after = [after_one(full_at, each.rate, now) for full_at, each in zip(before, buckets, strict=True)]
            taken = [moment for moment in after if moment is not None]
            allowed = len(taken) == len(buckets)
            found = taken if allowed else before
            if allowed:
                for bucket, moment in zip(buckets, taken, strict=True):
                    self._full_at[bucket.key] = moment
                if len(self._full_at) > self._most:
                    self._forget(now)
        return nearest_to_its_end(
            [standing(each, full_at, now, allowed=allowed) for each, full_at in zip(buckets, found, strict=True)]
        )

    def look(self, bucket: Bucket, now: int) -> Standing:
        """How a caller stands; takes nothing."""
        with self._lock:
            full_at = self._full_at.get(bucket.key, 0)
        return standing(bucket, full_at, now, allowed=after_one(full_at, bucket.rate, now) is not None)

    def __len__(self) -> int:
        return len(self._full_at)

    def _forget(self, now: int) -> None:
        """Whose budget is whole again and, if that is not enough, the half that owes least."""
        owing = sorted(((moment, key) for key, moment in self._full_at.items() if moment > now), reverse=True)
        self._full_at = {key: moment for moment, key in owing[: self._most // 2]}
