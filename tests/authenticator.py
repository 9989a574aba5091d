"""An authenticator in software, made with `cryptography` alone: what a phone or a security key does in a ceremony."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import struct
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import encode_cbor

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40
ORIGIN = "http://localhost:8080"


@dataclass
class Credential:
    """One passkey. `count` is its signature counter; None for a kind that does not count."""

    credential_id: bytes
    key: ec.EllipticCurvePrivateKey
    domain: str
    user_handle: str
    count: int | None = 0


@dataclass
class Authenticator:
    """Answers options as a browser with this authenticator does, at the pages of one origin."""

    origin: str = ORIGIN
    verifies: bool = True
    """Whether it checks a finger, a face or a PIN."""
    counts: bool = True
    credentials: list[Credential] = field(default_factory=list)

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """`navigator.credentials.create`, then `toJSON`."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = Credential(
            secrets.token_bytes(32),
            key,
            options["rp"]["id"],
            options["user"]["id"],
            0 if self.counts else None,
        )
        self.credentials.append(made)
        numbers = key.public_key().public_numbers()
        public_key = encode_cbor(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )
        attested = bytes(16) + struct.pack(">H", len(made.credential_id)) + made.credential_id + public_key
        data = self._data(made, ATTESTED) + attested
        attestation = encode_cbor({"fmt": "none", "attStmt": {}, "authData": data})
        client_data = self._client_data("webauthn.create", options["challenge"])
        return _answer(made, {"clientDataJSON": text(client_data), "attestationObject": text(attestation)})

    def get(self, options: dict[str, Any], credential: Credential | None = None) -> dict[str, Any]:
        """`navigator.credentials.get`, then `toJSON`; with the newest passkey unless one is said."""
        used = credential or self.credentials[-1]
        if used.count is not None:
            used.count += 1
        data, client_data = self._data(used), self._client_data("webauthn.get", options["challenge"])
        signature = used.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        shown = {"authenticatorData": data, "clientDataJSON": client_data, "signature": signature}
        return _answer(used, {name: text(value) for name, value in shown.items()} | {"userHandle": used.user_handle})

    def _data(self, credential: Credential, flags: int = 0) -> bytes:
        flags |= PRESENT | (VERIFIED if self.verifies else 0)
        return hashlib.sha256(credential.domain.encode()).digest() + struct.pack(">BI", flags, credential.count or 0)

    def _client_data(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()


def text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _answer(credential: Credential, response: dict[str, Any]) -> dict[str, Any]:
    shown = text(credential.credential_id)
    return {"id": shown, "rawId": shown, "type": "public-key", "response": response, "clientExtensionResults": {}}
