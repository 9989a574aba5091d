"""What a load came to: times of requests, and whether memory grew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import linear_regression


@dataclass
class Times:
    """Seconds from sending a request to the end of its answer, and how the failed ones failed."""

    seconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def quantile(self, share: float) -> float:
        """0 when nothing was measured."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def growth(samples: Sequence[tuple[float, int]]) -> float:
    """Bytes an hour by which memory grew over the second half of the run; the first half fills caches and pools."""
    half = samples[len(samples) // 2 :]
    if len(half) < 3:
        return 0.0
    return linear_regression([at for at, _ in half], [size for _, size in half]).slope * 3600
