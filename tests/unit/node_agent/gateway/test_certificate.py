"""The gateway's certificate is renewed for the key in use, in time and by nobody else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from node_agent.gateway.certificate import install_certificate, renewal_request
from node_agent.identity import make_gateway_key
from node_agent.layout import GatewayLayout

START = datetime(2026, 1, 1, tzinfo=UTC)


def certificate_for(key: ec.EllipticCurvePublicKey, days: int = 90) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    signer = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key)
    builder = builder.serial_number(1).not_valid_before(START).not_valid_after(START + timedelta(days=days))
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.fixture
def files(tmp_path: Path) -> GatewayLayout:
    layout = GatewayLayout(tmp_path)
    key = make_gateway_key(layout.key)
    layout.certificate.write_text(certificate_for(key.public_key()))
    return layout


def test_a_new_one_is_asked_for_in_the_last_third(files: GatewayLayout) -> None:
    assert renewal_request(files, "node", START + timedelta(days=59)) == ""
    request = renewal_request(files, "node", START + timedelta(days=61))
    present = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert x509.load_pem_x509_csr(request.encode()).public_key() == present.public_key()


def test_also_once_it_has_ended(files: GatewayLayout) -> None:
    assert renewal_request(files, "node", START + timedelta(days=400)) != ""


def test_one_for_our_key_is_installed(files: GatewayLayout) -> None:
    present = x509.load_pem_x509_certificate(files.certificate.read_bytes()).public_key()
    assert isinstance(present, ec.EllipticCurvePublicKey)
    install_certificate(files, certificate_for(present, days=180))
    assert renewal_request(files, "node", START + timedelta(days=61)) == ""


def test_one_for_another_key_is_not(files: GatewayLayout) -> None:
    before = files.certificate.read_bytes()
    with pytest.raises(ValueError, match="another key"):
        install_certificate(files, certificate_for(ec.generate_private_key(ec.SECP256R1()).public_key()))
    with pytest.raises(ValueError, match=r"."):
        install_certificate(files, "nonsense")
    assert files.certificate.read_bytes() == before
