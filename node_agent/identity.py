"""The keys of this node. They are made here, never leave the machine, and lie in one file of mode 0600."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509.oid import NameOID

from node_agent.errors import ConfigurationError
from node_agent.files import write_atomically
from node_agent.protocol.encoding import from_text, to_text


@dataclass(frozen=True)
class NodeKeys:
    """Private keys; never log an instance."""

    identity: Ed25519PrivateKey
    """Signs requests to the control plane."""
    sealing: X25519PrivateKey
    """Opens credentials sealed to this node."""

    def __repr__(self) -> str:
        return "NodeKeys(***)"

    @property
    def identity_public(self) -> str:
        return to_text(self.identity.public_key().public_bytes_raw())

    @property
    def sealing_public(self) -> str:
        return to_text(self.sealing.public_key().public_bytes_raw())


def make_keys() -> NodeKeys:
    return NodeKeys(Ed25519PrivateKey.generate(), X25519PrivateKey.generate())


def save_keys(path: Path, keys: NodeKeys) -> None:
    """Raises OSError."""
    body = {
        "identity": to_text(keys.identity.private_bytes_raw()),
        "sealing": to_text(keys.sealing.private_bytes_raw()),
    }
    write_atomically(path, json.dumps(body).encode())


def load_keys(path: Path) -> NodeKeys:
    """Raises ConfigurationError."""
    try:
        body = json.loads(path.read_bytes())
        return NodeKeys(
            Ed25519PrivateKey.from_private_bytes(from_text(body["identity"])),
            X25519PrivateKey.from_private_bytes(from_text(body["sealing"])),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"the node's keys in {path} cannot be read; enrol the node again") from error


def make_gateway_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A new P-256 key in PEM at `path`. Raises OSError."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_atomically(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return key


def gateway_request(key: ec.EllipticCurvePrivateKey, name: str) -> str:
    """PEM certificate request. The control plane, not the node, decides which names the certificate holds."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()
