"""What is done to the farm, and when it counts as whole again. Each function inflicts one fault and waits."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.chaos.farm import LEASE_SECONDS, LOST_SECONDS, ChaosFarm, Node, wait_for
from tests.chaos.processes import send

RECOVERY_SECONDS = 120.0
STOPPED_SECONDS = 5.0
"""Shorter than the lease: a process that stands still for so long must cost no more than that."""
NODE_ROLES = ("gateway", "terminal", "worker", "bot", "watchdog")
SERVICES = ("control plane", "broker")


@dataclass
class Fault:
    """One kind of fault, and how long the farm took to be whole again each time."""

    name: str
    inflict: Callable[[ChaosFarm, random.Random], float]
    """Does it, waits until the farm is whole again, and returns the seconds from the fault's end to that."""
    recoveries: list[float] = field(default_factory=list)


def all_faults() -> list[Fault]:
    """Everything that the table shows."""
    faults = [Fault(f"kill -9 {role}", _kill(role)) for role in (*NODE_ROLES, "agent", *SERVICES)]
    stopped = f"{STOPPED_SECONDS:g} s"
    faults += [Fault(f"SIGSTOP {role}, {stopped}", _stop(role)) for role in (*NODE_ROLES, "agent", *SERVICES)]
    return [
        *faults,
        Fault("link to the control plane cut, shorter than the lease", _cut_shortly),
        Fault("control plane dead for longer than a node may be silent", _long_outage),
        Fault("link cut until self-fenced accounts have moved", _cut_until_moved),
        Fault("host paused until its accounts have moved, then woken", _pause_until_moved),
    ]


def _kill(role: str) -> Callable[[ChaosFarm, random.Random], float]:
    def inflict(farm: ChaosFarm, chance: random.Random) -> float:
        before = _pids(farm, role)
        victim = chance.choice(before)
        send([victim], signal.SIGKILL)

        def replaced() -> bool:
            present = _pids(farm, role)
            return victim not in present and len(present) >= len(before)

        return _recovered(farm, replaced)

    return inflict


def _stop(role: str) -> Callable[[ChaosFarm, random.Random], float]:
    def inflict(farm: ChaosFarm, chance: random.Random) -> float:
        victim = chance.choice(_pids(farm, role))
        send([victim], signal.SIGSTOP)
        try:
            time.sleep(STOPPED_SECONDS)
        finally:
            send([victim], signal.SIGCONT)
        return _recovered(farm)

    return inflict


def _cut_shortly(farm: ChaosFarm, chance: random.Random) -> float:
    node = chance.choice(farm.nodes)
    node.link.cut()
    try:
        time.sleep(LEASE_SECONDS * 0.7)
    finally:
        node.link.mend()
    return _recovered(farm)


def _long_outage(farm: ChaosFarm, _chance: random.Random) -> float:
    """Nothing that may keep running is stopped while nobody answers the agents."""
    before = _kept_pids(farm)
    farm.services["control plane"].hold()
    try:
        time.sleep(LOST_SECONDS + LEASE_SECONDS)
        gone = before - _kept_pids(farm)
    finally:
        farm.services["control plane"].release()
    if gone:
        farm.complaints.append(f"an outage of the control plane ended terminals that run on: {sorted(gone)}")
    return _recovered(farm)


def _cut_until_moved(farm: ChaosFarm, chance: random.Random) -> float:
    node = _holder_of_fenced(farm, chance)
    _until_it_may_move(farm, node)
    node.link.cut()
    try:
        return _moved(farm, node)
    finally:
        node.link.mend()
        _recovered(farm)


def _pause_until_moved(farm: ChaosFarm, chance: random.Random) -> float:
    """All of a node stands still, as on a host that is paused, and goes on when its accounts run elsewhere."""
    node = _holder_of_fenced(farm, chance)
    _until_it_may_move(farm, node)
    pids = node.pids()
    send(pids, signal.SIGSTOP)
    try:
        return _moved(farm, node)
    finally:
        send(pids, signal.SIGCONT)
        _recovered(farm)


def _until_it_may_move(farm: ChaosFarm, node: Node) -> None:
    now = datetime.now(UTC)
    wait_for(lambda: farm.may_move_from(node.node_id, now), RECOVERY_SECONDS, "a node whose watchdog is known to be up")


def _moved(farm: ChaosFarm, node: Node) -> float:
    """Wait until the node's self-fenced accounts are ready elsewhere; seconds since they were proven dead here."""
    moving = {terminal for terminal, place in farm.places("self_fence").items() if place == node.node_id}

    def elsewhere() -> bool:
        places = farm.places("self_fence")
        ready = {one["terminal"]["id"] for one in farm.client.accounts() if one["terminal"]["phase"] == "ready"}
        return moving <= ready and all(places.get(one, node.node_id) != node.node_id for one in moving)

    wait_for(elsewhere, RECOVERY_SECONDS, "the move of self-fenced accounts")
    return farm.seconds_since_release(moving)


def _recovered(farm: ChaosFarm, replaced: Callable[[], bool] = lambda: True) -> float:
    """Whole again is a farm in which all is there and a new trade has reached the trade log."""
    before: int | None = None

    def whole() -> bool:
        nonlocal before
        if before is None:
            before = farm.trades()
        return replaced() and farm.whole() and farm.trades() > before

    return wait_for(whole, RECOVERY_SECONDS, "a whole farm that trades")


def _pids(farm: ChaosFarm, role: str) -> list[int]:
    if role in SERVICES:
        return [farm.services[role].pid]
    if role == "agent":
        return [node.agent.pid for node in farm.nodes]
    return [row["pid"] for node in farm.nodes for row in _rows(node, (role,))]


def _rows(node: Node, roles: Sequence[str]) -> list[dict[str, Any]]:
    return [row for row in node.processes() if row["role"] in roles]


def _kept_pids(farm: ChaosFarm) -> set[int]:
    kept = farm.places("keep_running")
    return {row["pid"] for node in farm.nodes for row in _rows(node, ("terminal",)) if row["id"] in kept}


def _holder_of_fenced(farm: ChaosFarm, chance: random.Random) -> Node:
    holders = set(farm.places("self_fence").values())
    return chance.choice([node for node in farm.nodes if node.node_id in holders])
