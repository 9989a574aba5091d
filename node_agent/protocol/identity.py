"""How an agent proves who it is: each request carries a short token signed by the key that was made on the node.

The token binds method, path and body, so it cannot be replayed for another request; its id is accepted once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SCHEME = "Farm-Node"
LIFETIME_SECONDS = 60
CLOCK_SKEW_SECONDS = 30


class IdentityError(Exception):
    """The request is not signed by the node it claims to come from."""


@dataclass(frozen=True)
class SignedRequest:
    node_id: str
    token_id: str
    signed_at: int
    """Seconds since 1970, by the clock of whoever signed."""


def sign_request(key: Ed25519PrivateKey, node_id: str, method: str, path: str, body: bytes, now: float) -> str:
    """Value of the Authorization header. `now` is seconds since 1970, UTC."""
    claims = {
        "iss": node_id,
        "aud": "mt5farm-control-plane",
        "htm": method.upper(),
        "htp": path,
        "bdy": hashlib.sha256(body).hexdigest(),
        "iat": int(now),
        "exp": int(now) + LIFETIME_SECONDS,
        "jti": secrets.token_urlsafe(12),
    }
    return f"{SCHEME} {jwt.encode(claims, key, algorithm='EdDSA')}"


def claimed_node(header: str) -> str:
    """The node id a request claims, unverified: it only selects the key to verify with. Raises IdentityError."""
    scheme, _, token = header.partition(" ")
    if scheme != SCHEME:
        raise IdentityError(f"the Authorization scheme must be {SCHEME}")
    try:
        # By hand, for it is read more than once before it is verified, and the library would take far longer.
        _, claims, _ = token.split(".")
        node_id = json.loads(urlsafe_b64decode(f"{claims}==")).get("iss")
    except (ValueError, AttributeError, RecursionError) as error:
        raise IdentityError("the node token is malformed") from error
    if not isinstance(node_id, str):
        raise IdentityError("the node token names no node")
    return node_id


def verify_request(key: Ed25519PublicKey, header: str, method: str, path: str, body: bytes) -> SignedRequest:
    """Raises IdentityError. The caller keeps token ids for `LIFETIME_SECONDS` and refuses a second use."""
    token = header.partition(" ")[2]
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            audience="mt5farm-control-plane",
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": ["iss", "aud", "iat", "exp", "jti"]},
        )
    except jwt.PyJWTError as error:
        raise IdentityError(f"the node token is not valid: {error}") from error
    expected = (method.upper(), path, hashlib.sha256(body).hexdigest())
    if (claims.get("htm"), claims.get("htp"), claims.get("bdy")) != expected:
        raise IdentityError("the node token was made for another request")
    return SignedRequest(node_id=claims["iss"], token_id=claims["jti"], signed_at=int(claims["iat"]))
