"""Master keys in a key management service that speaks the transit interface of HashiCorp Vault and OpenBao.

The key never leaves the service. It has to be made there beforehand, of type aes256-gcm96, which takes associated data.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import httpx

from control_plane.errors import UnavailableError
from control_plane.vault.masters import Wrapped
from control_plane.vault.sealing import SealBrokenError

_TIMEOUT_SECONDS = 5.0
_MOST_REMEMBERED = 10_000


class TransitKeys:
    """Keys that were unwrapped are remembered in memory, so that not every password costs a question."""

    def __init__(self, address: str, key_name: str, token_file: Path, http: httpx.Client | None = None) -> None:
        self._http = http or httpx.Client(timeout=_TIMEOUT_SECONDS)
        self._address = address.rstrip("/")
        self._name = key_name
        self._token_file = token_file
        self._opened: OrderedDict[tuple[Wrapped, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def newest_id(self) -> str:
        return f"v{self._ask('GET', f'keys/{self._name}')['latest_version']}"

    def wrap(self, plain: bytes, place: str) -> Wrapped:
        answer = self._ask(
            "POST", f"encrypt/{self._name}", plaintext=_text(plain), associated_data=_text(place.encode())
        )
        ciphertext = str(answer["ciphertext"])
        return Wrapped(ciphertext.split(":")[1], ciphertext.encode())

    def unwrap(self, wrapped: Wrapped, place: str) -> bytes:
        with self._lock:
            known = self._opened.get((wrapped, place))
        if known is not None:
            return known
        text = wrapped.value.decode("ascii", "replace")
        if wrapped.master_id != text.partition(":")[2].partition(":")[0]:
            raise SealBrokenError("the value was not wrapped by the key that its row names")
        answer = self._ask("POST", f"decrypt/{self._name}", ciphertext=text, associated_data=_text(place.encode()))
        plain = base64.b64decode(answer["plaintext"])
        with self._lock:
            self._opened[wrapped, place] = plain
            if len(self._opened) > _MOST_REMEMBERED:
                self._opened.popitem(last=False)
        return plain

    def rotate(self) -> str:
        self._ask("POST", f"keys/{self._name}/rotate")
        return self.newest_id()

    def retire_all_but(self, used: Collection[str]) -> None:
        """The service keeps every version until its operator raises `min_decryption_version`; old backups need them."""

    def _ask(self, method: str, path: str, **body: str) -> dict[str, Any]:
        try:
            response = self._http.request(
                method,
                f"{self._address}/v1/transit/{path}",
                json=body or None,
                headers={"X-Vault-Token": self._token_file.read_text("utf-8").strip()},
            )
        except (httpx.HTTPError, OSError) as error:
            raise _unavailable() from error
        if response.status_code == httpx.codes.BAD_REQUEST:
            raise SealBrokenError("the key management service cannot open the value in this place")
        if response.is_error:
            raise _unavailable()
        found = response.json().get("data") if response.content else {}
        return found if isinstance(found, dict) else {}


def _text(plain: bytes) -> str:
    return base64.b64encode(plain).decode()


def _unavailable() -> UnavailableError:
    return UnavailableError("The key management service does not answer.", code="keys_unavailable", retryable=True)
