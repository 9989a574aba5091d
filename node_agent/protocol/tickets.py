"""Tickets: short-lived signed permissions to open one session to one terminal through its node's gateway.

A ticket is a JWT signed with Ed25519. It lives 60 s, names its node, terminal, epoch and scope, and is redeemed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

LIFETIME_SECONDS = 60
CLOCK_SKEW_SECONDS = 5


class Scope(StrEnum):
    """What a session may do. `trade` includes `read`; `view` shows the screen and reaches nothing else."""

    READ = "read"
    TRADE = "trade"
    VIEW = "view"


class TicketError(Exception):
    """A ticket that must not be honoured. `code` is stable and safe to show."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Ticket:
    """The claims of a ticket."""

    ticket_id: str
    node_id: str
    terminal_id: str
    epoch: int
    scope: Scope
    principal: str
    """Who holds it: `user:<id>` or `service:<name>`."""
    access_epoch: int = 0
    """Rises when what was permitted before must end, such as on a changed password; 0 in tickets of version 1.0."""


def issue(key: Ed25519PrivateKey, kid: str, ticket: Ticket, now: float) -> str:
    """Sign a ticket. `now` is seconds since 1970, UTC."""
    claims = {
        "iss": "mt5farm",
        "aud": ticket.node_id,
        "sub": ticket.principal,
        "ter": ticket.terminal_id,
        "epo": ticket.epoch,
        "aep": ticket.access_epoch,
        "scp": ticket.scope.value,
        "iat": int(now),
        "exp": int(now) + LIFETIME_SECONDS,
        "jti": ticket.ticket_id,
    }
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid})


def node_of(text: str) -> str:
    """For which node the ticket says that it is; nothing is verified. Raises TicketError."""
    try:
        return str(jwt.decode(text, options={"verify_signature": False})["aud"])
    except (jwt.PyJWTError, KeyError) as error:
        raise TicketError("ticket_invalid", "the ticket is not valid") from error


def verify(text: str, keys: Mapping[str, Ed25519PublicKey], node_id: str) -> Ticket:
    """Check signature, age and audience. Raises TicketError.

    Epoch, one-time use and whether the terminal is here are the gateway's to check.
    """
    try:
        kid = jwt.get_unverified_header(text).get("kid")
        key = keys.get(str(kid))
        if key is None:
            raise TicketError("ticket_unknown_key", "the ticket is signed with a key that this node does not know")
        claims = jwt.decode(
            text,
            key,
            algorithms=["EdDSA"],
            issuer="mt5farm",
            audience=node_id,
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": ["iss", "aud", "sub", "iat", "exp", "jti"]},
        )
        return Ticket(
            ticket_id=str(claims["jti"]),
            node_id=node_id,
            terminal_id=str(claims["ter"]),
            epoch=int(claims["epo"]),
            scope=Scope(claims["scp"]),
            principal=str(claims["sub"]),
            access_epoch=int(claims.get("aep", 0)),
        )
    except jwt.ExpiredSignatureError as error:
        raise TicketError("ticket_expired", "the ticket has expired; ask for a new one") from error
    except jwt.InvalidAudienceError as error:
        raise TicketError("ticket_other_node", "the ticket is for another node") from error
    except jwt.PyJWTError as error:
        raise TicketError("ticket_invalid", "the ticket is not valid") from error
    except (KeyError, ValueError, TypeError) as error:
        raise TicketError("ticket_invalid", "the ticket lacks a claim") from error
