"""The farm's certificate authority: signs the agent API's and the gateways' certificates, and nothing else."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.errors import InvalidInputError
from control_plane.vault import repository
from control_plane.vault.service import Vault

_CA_LIFETIME = timedelta(days=3650)
_SERVER_LIFETIME = timedelta(days=397)
_SKEW = timedelta(minutes=5)
_KEY_NAME = "ca"


class Authority:
    """Elliptic curve P-256; its private key is kept wrapped in the database."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, clock: Clock) -> None:
        self._key = key
        self._certificate = certificate
        self._clock = clock
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    @classmethod
    def load_or_create(cls, session: Session, vault: Vault, clock: Clock) -> Authority:
        """The first start makes the authority; afterwards every node trusts this one."""
        row = repository.farm_key(session, _KEY_NAME)
        if row is None:
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = _self_signed(key, clock.now())
            private = key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            public = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
            vault.put_farm_key(session, _KEY_NAME, private, public)
            return cls(key, certificate, clock)
        loaded = serialization.load_der_private_key(vault.open_farm_key(row), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        return cls(loaded, x509.load_pem_x509_certificate(row.public.encode()), clock)

    def issue_for_request(self, csr_pem: str, names: Iterable[str]) -> str:
        """Sign a server certificate for the key of a request; its names are ours to choose, not the request's.

        Raises InvalidInputError for a request that cannot be read or is not signed by its own key.
        """
        try:
            request = x509.load_pem_x509_csr(csr_pem.encode())
            signed = request.is_signature_valid
            public_key = request.public_key()
        except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
            raise InvalidInputError("The certificate request cannot be read.", code="bad_csr") from error
        if not signed or not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise InvalidInputError("The certificate request must be signed by its own EC key.", code="bad_csr")
        return self._issue(public_key, names)

    def issue_with_key(self, names: Iterable[str]) -> tuple[str, str]:
        """A new private key (PEM) and its server certificate (PEM), for a server in this process."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private.decode("ascii"), self._issue(key.public_key(), names)

    def _issue(self, public_key: ec.EllipticCurvePublicKey, names: Iterable[str]) -> str:
        now = self._clock.now()
        wanted = list(dict.fromkeys(names))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted[0][:64])]))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SKEW)
            .not_valid_after(now + _SERVER_LIFETIME)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in wanted]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MT5 Farm authority")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
