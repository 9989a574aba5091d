"""Signatures of webhooks, as Standard Webhooks has them. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

_PREFIX = "whsec_"
_BYTES = 32


def new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signed_headers(keys: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """One signature for each secret, so that a receiver may change from one to the next when it likes."""
    stamp = str(int(at.timestamp()))
    content = b".".join([message_id.encode(), stamp.encode(), body])
    signatures = [f"v1,{_signature(key, content)}" for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
        "content-type": "application/json",
    }


def _signature(key: str, content: bytes) -> str:
    raw = base64.b64decode(key.removeprefix(_PREFIX))
    return base64.b64encode(hmac.new(raw, content, hashlib.sha256).digest()).decode()
