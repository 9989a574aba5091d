"""Figures of a node with something in each of them."""

from __future__ import annotations

from mt5_bridge.call_times import BOUNDS
from node_agent.call_times import Times
from node_agent.figures import NodeFigures, by_phase
from node_agent.gateway.figures import GatewayFigures
from node_agent.protocol.messages import Phase

GATEWAY = GatewayFigures(
    pid=7,
    sessions=3,
    strangers=1,
    opened=12,
    refused={"ticket_used": 2},
    ended={"stale_epoch": 1},
    turned_away=4,
    bytes_in=1000,
    bytes_out=9000,
)
FIGURES = NodeFigures(
    phases=by_phase([Phase.READY, Phase.READY, Phase.FAILED]),
    exits={"terminal": 5, "worker": 1},
    spooled=40,
    spool_age=12.5,
    sync_age=3.0,
    lease_left=42.0,
    gateway_up=True,
    watchdog_up=False,
    short_of=frozenset({"disk"}),
    memory_available=2_000_000_000,
    disk_free=100_000,
    load=0.25,
    clock_offset=-0.02,
    calls=Times((10, 5, *[0] * (len(BOUNDS) - 2), 1), 31.5),
    gateway=GATEWAY,
)
