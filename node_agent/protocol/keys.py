"""The one record of the wire that the gateway shares; without the others it starts twice as fast."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class TicketKey(BaseModel):
    """A public key that signs tickets."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    kid: str
    key: str
    """Raw Ed25519 public key, URL-safe base64 without padding."""
