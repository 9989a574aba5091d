"""Code that users have brought, as far as bots of this node run it: fetched by its digest, verified, unpacked once."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import httpx
import structlog

from mt5_bridge.sandbox.package import PackageError, digest, unpack
from node_agent.clock import Clock
from node_agent.files import private_folder
from node_agent.identity import NodeKeys
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import CODE_BYTES, CODE_PATH, CodeRef

_log = structlog.get_logger(__name__)
_TIMEOUT: Final = httpx.Timeout(20.0, connect=5.0)

Fetch = Callable[[CodeRef], bytes]
"""The packed bytes of a reference. Raises OSError."""


class CodeShelf:
    """Thread-safe; code is fetched once however many bots ask for it."""

    def __init__(self, root: Path, fetch: Fetch) -> None:
        self._root = root
        self._fetch = fetch
        self._lock = threading.Lock()

    def take(self, code: CodeRef) -> Path:
        """The unpacked code; blocks while it is fetched. Raises OSError, also for what is not what was announced."""
        folder = self._root / code.sha256
        with self._lock:
            if not folder.is_dir():
                private_folder(self._root)
                packed = self._fetch(code)
                if digest(packed) != code.sha256:
                    raise OSError("the code that arrived is not the one that was asked for")
                draft = self._root / f"{code.sha256}.new"
                shutil.rmtree(draft, ignore_errors=True)
                try:
                    unpack(packed, draft)
                except PackageError as error:
                    raise OSError(f"the code that arrived cannot be unpacked: {error}") from error
                draft.rename(folder)
                _log.info("code_unpacked", sha256=code.sha256)
        return folder

    def clean(self, wanted: Collection[str]) -> None:
        """Remove what no bot of this node runs any more. Raises OSError."""
        with self._lock:
            for folder in self._root.iterdir() if self._root.is_dir() else ():
                if folder.name not in wanted:
                    shutil.rmtree(folder)


class CodeFetcher:
    """A `Fetch` over the same trust and signature as everything else that a node asks for."""

    def __init__(self, url: str, context: ssl.SSLContext, node_id: str, keys: NodeKeys, clock: Clock) -> None:
        self._url = url
        self._context = context
        self._node_id = node_id
        self._keys = keys
        self._clock = clock

    def __call__(self, code: CodeRef) -> bytes:
        """Raises OSError. Blocks."""
        path = f"{CODE_PATH}/{code.sha256}"
        signature = sign_request(self._keys.identity, self._node_id, "GET", path, b"", self._clock())
        content = bytearray()
        try:
            with (
                httpx.Client(base_url=self._url, verify=self._context, timeout=_TIMEOUT) as client,
                client.stream("GET", path, headers={"Authorization": signature}) as response,
            ):
                response.raise_for_status()
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > CODE_BYTES:
                        raise OSError("the code that arrives is longer than code may be")
        except httpx.HTTPError as error:
            raise OSError(f"the code cannot be fetched at the moment ({type(error).__name__})") from error
        return bytes(content)
