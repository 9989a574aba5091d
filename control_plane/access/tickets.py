"""Sign tickets with the farm's ticket key."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy.orm import Session

from control_plane.access.port import Target
from control_plane.clock import Clock
from control_plane.ids import new_id
from control_plane.vault import repository
from control_plane.vault.service import Vault
from node_agent.protocol import tickets
from node_agent.protocol.encoding import to_text
from node_agent.protocol.keys import TicketKey
from node_agent.protocol.tickets import Scope, Ticket

_KEY_NAME = "ticket-1"


@dataclass(frozen=True)
class IssuedTicket:
    """A ticket, and the id by which its session can be ended."""

    ticket_id: str
    text: str = field(repr=False)
    expires_at: datetime


class TicketIssuer:
    def __init__(self, key: Ed25519PrivateKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    @classmethod
    def load_or_create(cls, session: Session, vault: Vault, clock: Clock) -> TicketIssuer:
        row = repository.farm_key(session, _KEY_NAME)
        if row is not None:
            return cls(Ed25519PrivateKey.from_private_bytes(vault.open_farm_key(row)), clock)
        key = Ed25519PrivateKey.generate()
        vault.put_farm_key(session, _KEY_NAME, key.private_bytes_raw(), _public_text(key))
        return cls(key, clock)

    def public_keys(self) -> list[TicketKey]:
        """What gateways verify tickets with."""
        return [TicketKey(kid=_KEY_NAME, key=_public_text(self._key))]

    def read(self, text: str) -> Ticket:
        """A ticket that was issued here a moment ago. Raises TicketError."""
        return tickets.verify(text, {_KEY_NAME: self._key.public_key()}, tickets.node_of(text))

    def issue(self, target: Target, scope: Scope, principal: str) -> IssuedTicket:
        now = self._clock.now()
        ticket = Ticket(
            ticket_id=new_id("tik"),
            node_id=target.node_id,
            terminal_id=target.terminal_id,
            epoch=target.epoch,
            scope=scope,
            principal=principal,
            access_epoch=target.access_epoch,
        )
        text = tickets.issue(self._key, _KEY_NAME, ticket, now.timestamp())
        return IssuedTicket(ticket.ticket_id, text, now + timedelta(seconds=tickets.LIFETIME_SECONDS))


def _public_text(key: Ed25519PrivateKey) -> str:
    return to_text(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
