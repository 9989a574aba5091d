"""The farm's signature under the heads of its chains."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy.orm import Session

from control_plane.audit import repository as audit_repository
from control_plane.audit.chain import head_statement
from control_plane.vault import repository
from control_plane.vault.service import Vault
from node_agent.protocol.encoding import from_text, to_text

_KEY_NAME = "audit"


class HeadSigner:
    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = to_text(key.public_key().public_bytes_raw())
        """Whoever has this can check heads and exports without the farm."""

    @classmethod
    def load_or_create(cls, session: Session, vault: Vault) -> HeadSigner:
        """Raises SealBrokenError.

        Chains that are there before the key is are from a farm that did not sign yet; they are signed once, now. Later
        on an unsigned chain is a forged one.
        """
        row = repository.farm_key(session, _KEY_NAME)
        if row is not None:
            return cls(Ed25519PrivateKey.from_private_bytes(vault.open_farm_key(row)))
        key = Ed25519PrivateKey.generate()
        signer = cls(key)
        vault.put_farm_key(session, _KEY_NAME, key.private_bytes_raw(), signer.public_key)
        for chain in audit_repository.chains(session):
            chain.signature = signer.sign(chain.tenant_id, chain.seq, chain.head_hash)
        return signer

    def sign(self, tenant_id: str, seq: int, head_hash: str) -> bytes:
        return self._key.sign(head_statement(tenant_id, seq, head_hash))


def is_signed(public_key: str, signature: bytes, tenant_id: str, seq: int, head_hash: str) -> bool:
    """`public_key` as `HeadSigner.public_key` gives it. Raises ValueError for what is no key."""
    try:
        Ed25519PublicKey.from_public_bytes(from_text(public_key)).verify(
            signature, head_statement(tenant_id, seq, head_hash)
        )
    except InvalidSignature:
        return False
    return True
