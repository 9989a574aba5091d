"""Bodies of tickets and of live market data."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from control_plane.access.port import Target
from control_plane.access.tickets import IssuedTicket
from control_plane.certificates.service import Authority
from control_plane.idempotency.schemas import ShownOnce
from node_agent.protocol.tickets import Scope


class IssueTicket(BaseModel):
    scope: Scope


class TicketOut(ShownOnce):
    """Everything a script needs to open one session; valid once and for 60 s."""

    ticket_id: str
    """By which the session can be ended later."""
    ticket: str
    expires_at: datetime
    gateway: str
    """`host:port`."""
    server_name: str
    """Name in the gateway's certificate."""
    ca_pem: str
    terminal_id: str


def present_ticket(issued: IssuedTicket, target: Target, authority: Authority) -> TicketOut:
    return TicketOut(
        ticket_id=issued.ticket_id,
        ticket=issued.text,
        expires_at=issued.expires_at,
        gateway=target.gateway_address,
        server_name=target.node_id,
        ca_pem=authority.pem,
        terminal_id=target.terminal_id,
    )


class SymbolOut(BaseModel):
    """Prices in the quote currency, volumes in lots."""

    name: str
    description: str
    digits: int
    point: float
    volume_min: float
    volume_max: float
    volume_step: float
    stops_level: int
    order_mode: int
    """Bits of what orders may be: market 1, limit 2, stop 4, stop-limit 8, with stop loss 16, with take profit 32,
    closed by another position 64."""
    expiration_mode: int
    """Bits of the lifetimes that pending orders may have: GTC 1, day 2, specified 4, specified day 8."""
    """Least distance of stops from the price, in points."""
    bid: float
    ask: float
    broker_time: int
    """Time of the last quote, broker wall clock, seconds since 1970."""


class SymbolList(BaseModel):
    items: list[SymbolOut]


class BarOut(BaseModel):
    time: int
    """Opening time, broker wall clock, seconds since 1970."""
    open: float
    high: float
    low: float
    close: float
    tick_volume: int


class BarList(BaseModel):
    symbol: str
    timeframe: str
    digits: int
    items: list[BarOut]
