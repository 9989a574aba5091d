"""Bodies of trading accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, StringConstraints

from control_plane.accounts.trial import Outcome
from control_plane.assignments.relocation import LeasePolicy
from control_plane.terminals.schemas import TerminalOut

Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
BrokerPassword = Annotated[SecretStr, Field(min_length=1, max_length=128)]


class BrokerLogin(BaseModel):
    login: Annotated[int, Field(gt=0, lt=2**53)]
    password: BrokerPassword
    server: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class ConnectAccount(BrokerLogin):
    label: Label


class ConnectionTestOut(BaseModel):
    """One attempt to log in. Kept for a day after its end."""

    id: str
    server: str
    login: int
    outcome: Outcome
    words: str
    """The result, or how far it is, in a trader's words."""
    started_at: datetime
    deadline: datetime
    """When it ends at the latest."""
    finished_at: datetime | None


class ChangeCredentials(BaseModel):
    password: BrokerPassword


class SetLeasePolicy(BaseModel):
    policy: LeasePolicy


class MoveAccount(BaseModel):
    with_positions: bool = False
    """Move it even though nobody looks after its open positions and orders for some ten seconds."""


class SnapshotOut(BaseModel):
    """What the terminal last answered; money in the account currency, as decimal strings."""

    balance: str
    equity: str
    profit: str
    margin: str
    margin_free: str
    positions: int
    broker_time: int
    """Broker wall clock, seconds since 1970."""
    taken_at: datetime


class AccountOut(BaseModel):
    id: str
    label: str
    login: int
    server: str
    currency: str | None
    terminal: TerminalOut
    snapshot: SnapshotOut | None
    created_at: datetime
