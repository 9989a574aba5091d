"""What a seed stands for: how large the farm is, how long the storm lasts and which faults it brings."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """Durations in seconds of true time."""

    seed: int
    nodes: int
    slots: int
    accounts: int
    storm: float
    sync_seconds: float
    lost_after: float
    fence: float
    watches: bool
    pace: float
    """Mean time between two faults."""
    faults: tuple[str, ...]
    """Kinds of fault that happen in this seed: a few each time, so that they meet in all combinations."""


_MANY = 3
CLONED = "cloned node"
_HIDE_THE_ORIGINAL = frozenset(
    {
        "agent stopped",
        "agent hangs over a start",
        "frozen over an answer",
        "no watchdog",
        "host suspended",
        "machine paused",
        "power cut",
        "link cut",
        "cut towards the farm",
        "cut towards the node",
        "policy changed behind a cut",
        "all links cut",
        "lossy link",
        "late and out of order",
        "clock steps",
        "disk full",
        "control plane hangs",
        "control plane killed",
        "control plane dies working",
    }
)
"""A copy cannot be told from its original by anyone while the original cannot be heard; nobody promises that."""


def draw(seed: int, kinds: tuple[str, ...]) -> Scenario:
    chance = random.Random(seed)
    nodes = chance.choice((2, 2, 3, 3, 4, 6))
    accounts = chance.randint(2, 5)
    faults = set(chance.sample(kinds, min(chance.randint(3, 8), len(kinds))))
    if CLONED in faults:
        faults -= _HIDE_THE_ORIGINAL
    return Scenario(
        seed=seed,
        nodes=nodes,
        slots=max(2, -(-accounts // max(1, nodes - 1))),
        accounts=accounts,
        storm=chance.uniform(300.0, 700.0) * (0.8 if nodes > _MANY else 1.0),
        sync_seconds=chance.choice((10.0, 20.0, 22.0)) if nodes < 4 else 22.0,
        lost_after=chance.choice((75.0, 120.0, 300.0)),
        fence=chance.choice((60.0, 90.0, 240.0)),
        watches=chance.random() < 0.25,
        pace=chance.choice((12.0, 25.0, 50.0)),
        faults=tuple(sorted(faults)),
    )
