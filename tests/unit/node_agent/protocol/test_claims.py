"""What is read of a request before anybody has proved who sent it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from node_agent.protocol.identity import SCHEME, IdentityError, claimed_node, sign_request


def header(claims: str) -> str:
    return f"{SCHEME} head.{urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.signature"


@given(st.text(min_size=1))
def test_a_signed_request_claims_its_node(node_id: str) -> None:
    assert claimed_node(sign_request(Ed25519PrivateKey.generate(), node_id, "GET", "/", b"", 0)) == node_id


@given(st.text() | st.text().map(lambda rest: f"{SCHEME} {rest}") | st.text().map(header))
def test_whatever_else_comes_is_malformed(said: str) -> None:
    with pytest.raises(IdentityError):
        claimed_node(said)


@pytest.mark.parametrize("claims", ["[]", "5", "{}", json.dumps({"iss": 5}), "[" * 1400, "\ud83d"])
def test_claims_without_a_name_are_malformed(claims: str) -> None:
    with pytest.raises(IdentityError):
        claimed_node(header(claims.encode("utf-8", "surrogatepass").decode("latin-1")))
