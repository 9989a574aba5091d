"""Makes the secrets that the services of docker-compose.yml share, in files of mode 0600."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from control_plane.secrecy import keep_secret, new_secret

_YEARS = 10


def make_service_secrets(folder: Path, *, database_host: str, redis_host: str, mail_host: str) -> None:
    """Those that are there are kept. Raises ConfigurationError."""
    administrator = keep_secret(folder / "database.password", new_secret())
    keep_secret(folder / "administrator.url", f"postgresql://postgres:{administrator}@{database_host}/postgres")
    for role in ("owner", "app"):
        keep_secret(folder / f"{role}.url", f"postgresql://farm_{role}:{new_secret()}@{database_host}/farm")
    keep_secret(folder / "redis.url", f"redis://{redis_host}/0")
    keep_secret(folder / "grafana.password", new_secret())
    if not (folder / "mail.pem").exists():
        key, certificate = _self_signed(mail_host)
        keep_secret(folder / "mail.key", key.rstrip("\n"))
        keep_secret(folder / "mail.pem", certificate.rstrip("\n"))


def _self_signed(host: str) -> tuple[str, str]:
    """For the mail catcher alone, whose certificate is handed to those who send."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()
