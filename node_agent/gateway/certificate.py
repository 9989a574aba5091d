"""The gateway's certificate and its renewal: asked for with a sync while its end is near, for the key in use."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from node_agent.files import write_atomically
from node_agent.identity import gateway_request
from node_agent.layout import GatewayLayout

_RENEW_SHARE = 1 / 3
"""Of its life that is left when a new one is asked for."""


def renewal_request(files: GatewayLayout, name: str, now: datetime) -> str:
    """PEM certificate request once it is time, else empty. Raises OSError, ValueError for files that are broken."""
    present = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    life = present.not_valid_after_utc - present.not_valid_before_utc
    if present.not_valid_after_utc - now > life * _RENEW_SHARE:
        return ""
    return gateway_request(_key(files), name)


def install_certificate(files: GatewayLayout, chain: str) -> None:
    """The gateway takes it for its next handshakes. Raises ValueError when it is not for our key, OSError."""
    certificate = x509.load_pem_x509_certificate(chain.encode())
    if certificate.public_key() != _key(files).public_key():
        raise ValueError("the new certificate is for another key")
    write_atomically(files.certificate, chain.encode())


def _key(files: GatewayLayout) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(files.key.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the gateway's key is of a kind that was never made here")  # noqa: TRY004 - a broken file
    return key
