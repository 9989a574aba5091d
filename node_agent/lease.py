"""How long a node may hold terminals that must die when it loses touch (`lease_policy: self_fence`). Pure.

The lease counts from the moment the node *sent* the last sync that was answered, so it can only end earlier here than
the control plane believes. Before `fence_seconds` are over everything must be dead, so each means of ending a terminal
has its own share of that time: the agent ends it in order, then the watchdog kills what is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from mt5_bridge.lease import Lease, Moment, age

if TYPE_CHECKING:  # the watchdog, which shares this module, stays small without it
    from node_agent.protocol.messages import DesiredTerminal

STOP_SHARE: Final = 0.9
"""Of `fence_seconds`: from then on bridges refuse trades, and the agent ends the terminals and starts none."""
KILL_SHARE: Final = 0.97
"""Of `fence_seconds`: from then on the watchdog kills."""


class Stage(IntEnum):
    """What must happen to terminals that fence themselves."""

    HELD = 0
    STOP = 1
    KILL = 2


def stage(lease: Lease | None, now: Moment) -> Stage:
    """`lease` spans `fence_seconds`; without one nothing may run."""
    if lease is None:
        return Stage.KILL
    spent = age(lease.since, now)
    if spent >= lease.seconds * KILL_SHARE:
        return Stage.KILL
    return Stage.STOP if spent >= lease.seconds * STOP_SHARE else Stage.HELD


def trade_lease(lease: Lease) -> Lease:
    """How long the bridge of such a terminal may trade."""
    return Lease(lease.since, lease.seconds * STOP_SHARE)


def renewed(present: Lease | None, sent_at: Moment, fence_seconds: float) -> Lease:
    """After an answered sync. An answer to an older sync never takes back what a newer one gave."""
    older = present is not None and present.since.boot == sent_at.boot and present.since.elapsed > sent_at.elapsed
    return present if present is not None and older else Lease(sent_at, fence_seconds)


def latest(told: Lease | None, beside: Lease | None) -> Lease | None:
    """Of the lease in the fence file and the one in the file beside it, which is written when the other has no room."""
    if told is None or beside is None or told.since.boot != beside.since.boot:
        return told
    return beside if beside.since.elapsed > told.since.elapsed else told


def fences_itself(desired: DesiredTerminal) -> bool:
    return desired.lease_policy == "self_fence"


def fencing(terminals: Iterable[DesiredTerminal]) -> dict[str, int]:
    """Terminal id to epoch of those that must die when the lease is over."""
    return {each.terminal_id: each.epoch for each in terminals if fences_itself(each)}
