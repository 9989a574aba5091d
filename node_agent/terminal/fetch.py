"""Fetches terminal templates from the control plane; what was cut off is resumed."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from node_agent.clock import Clock
from node_agent.identity import NodeKeys
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import TEMPLATES_PATH, TemplateRef
from node_agent.terminal.shelf import TemplateError

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_TRIES: Final = 3


class TemplateFetcher:
    """A `shelf.Fetch` over the same trust and signature as everything else that a node asks for."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        node_id: str,
        keys: NodeKeys,
        clock: Clock,
        transport: Callable[[], httpx.BaseTransport | None] = lambda: None,
    ) -> None:
        """`transport` stands in for the network in tests."""
        self._url = url
        self._context = context
        self._node_id = node_id
        self._keys = keys
        self._clock = clock
        self._transport = transport

    def __call__(self, template: TemplateRef, archive: Path) -> None:
        """Raises TemplateError, OSError. Blocks for as long as bytes arrive."""
        problem = ""
        with httpx.Client(
            base_url=self._url, verify=self._context, timeout=_TIMEOUT, transport=self._transport()
        ) as client:
            for _ in range(_TRIES):
                try:
                    self._fetch_rest(client, template, archive)
                except httpx.HTTPError as error:
                    problem = type(error).__name__
                else:
                    return
        raise TemplateError(f"The terminal template cannot be fetched at the moment ({problem}).")

    def _fetch_rest(self, client: httpx.Client, template: TemplateRef, archive: Path) -> None:
        there = archive.stat().st_size if archive.exists() else 0
        if there == template.size:
            return
        if there > template.size:
            archive.unlink()
            there = 0
        path = f"{TEMPLATES_PATH}/{template.sha256}"
        headers = {
            "Authorization": sign_request(self._keys.identity, self._node_id, "GET", path, b"", self._clock()),
            # As it is: the archive is packed already, and ranges are of these bytes.
            "Accept-Encoding": "identity",
        }
        if there:
            headers["Range"] = f"bytes={there}-"
        with client.stream("GET", path, headers=headers) as response:
            if response.status_code not in {200, 206}:
                raise TemplateError(f"The control plane does not give the terminal template ({response.status_code}).")
            resumed = response.headers.get("Content-Range", "").startswith(f"bytes {there}-")
            self._write(response, archive, template.size, there if resumed else 0)

    def _write(self, response: httpx.Response, archive: Path, size: int, there: int) -> None:
        with archive.open("r+b" if there else "wb") as file:
            file.seek(there)
            for chunk in response.iter_bytes():
                there += len(chunk)
                if there > size:
                    raise TemplateError("The terminal template that arrives is longer than was announced.")
                file.write(chunk)
        if there < size:
            raise httpx.RemoteProtocolError("the template ended early")
