"""Sealing of broker credentials to one node: HPKE (RFC 9180) with X25519, HKDF-SHA256 and ChaCha20-Poly1305.

The context that the credentials are for is bound in as HPKE `info`, so a box moved to another tenant, account, terminal
or epoch cannot be opened.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import BaseModel

from node_agent.protocol.encoding import from_text, to_text

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class Credentials(BaseModel):
    """What a terminal needs to log in. `repr` hides the password."""

    login: int
    password: str
    server: str

    def __repr__(self) -> str:
        return f"Credentials(login={self.login}, password=***, server={self.server!r})"

    __str__ = __repr__


@dataclass(frozen=True)
class SealContext:
    """What sealed credentials are bound to."""

    tenant_id: str
    account_id: str
    terminal_id: str
    epoch: int

    def info(self) -> bytes:
        return f"mt5farm/credentials/1|{self.tenant_id}|{self.account_id}|{self.terminal_id}|{self.epoch}".encode()


class SealError(Exception):
    """The box cannot be opened with this key and context."""


def seal(credentials: Credentials, sealing_key: str, context: SealContext) -> str:
    """Seal to a node's public key (`EnrollRequest.sealing_key`)."""
    public = X25519PublicKey.from_public_bytes(from_text(sealing_key))
    return to_text(_SUITE.encrypt(credentials.model_dump_json().encode(), public, context.info()))


def unseal(box: str, private_key: X25519PrivateKey, context: SealContext) -> Credentials:
    """Raises SealError when the box was altered, is for another node, or is for another context."""
    try:
        plain = _SUITE.decrypt(from_text(box), private_key, context.info())
    except (InvalidTag, ValueError) as error:
        raise SealError("credentials are not sealed to this node and assignment") from error
    return Credentials.model_validate_json(plain)
