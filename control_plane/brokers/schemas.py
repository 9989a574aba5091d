"""Bodies of the broker server directory."""

from __future__ import annotations

from pydantic import BaseModel


class BrokerServerOut(BaseModel):
    name: str
    company: str
    simulated: bool


class BrokerServerList(BaseModel):
    items: list[BrokerServerOut]
