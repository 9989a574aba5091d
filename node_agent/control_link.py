"""HTTPS to the control plane: every request signed by the node, every answer a checked record.

ControlError
├── UnreachableError      no answer, or one that is no answer; try again
├── NodeUnknownError      it does not know this node, or has locked it; try again slowly, a person must act
└── RejectedError         it understood and said no
"""

from __future__ import annotations

import ssl
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from node_agent.clock import Clock
from node_agent.identity import NodeKeys
from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import (
    BUNDLES_PATH,
    ENROLL_PATH,
    EVENTS_PATH,
    SYNC_PATH,
    WATCH_PATH,
    EnrollRequest,
    EnrollResponse,
    EventAck,
    EventBatch,
    SyncRequest,
    SyncResponse,
    WatchResponse,
)

_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_BUNDLE_TIMEOUT = httpx.Timeout(120.0, connect=5.0)
_WATCH_TIMEOUT = httpx.Timeout(40.0, connect=5.0)
_LIMITS = httpx.Limits(keepalive_expiry=60.0)
"""Seconds that an unused connection is kept: longer than from one report to the next, and less than the other side."""
_SHUT_OUT = frozenset({"node_unknown", "identity_locked", "identity_revoked"})
_Answer = TypeVar("_Answer", bound=BaseModel)


class ControlError(Exception):
    """Base of what can go wrong with the control plane. `str()` is safe to log."""


class UnreachableError(ControlError):
    """No answer, or one that makes no sense."""


class NodeUnknownError(ControlError):
    """The control plane does not know this node, or no longer trusts it: revoked, or seen twice and locked."""


class RejectedError(ControlError):
    """The control plane said no."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


def farm_context(ca_pem: str) -> ssl.SSLContext:
    """Trusts the farm's own CA and nothing else. Raises ssl.SSLError for broken PEM."""
    context = ssl.create_default_context(cadata=ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def enroll(url: str, ca_pem: str, request: EnrollRequest) -> EnrollResponse:
    """Raises ControlError."""
    async with farm_client(url, ca_pem) as client:
        try:
            response = await client.post(ENROLL_PATH, content=request.model_dump_json())
        except httpx.HTTPError as error:
            raise UnreachableError(f"the control plane at {url} does not answer: {error}") from error
    return _read(response, EnrollResponse)


def farm_client(url: str, ca_pem: str) -> httpx.AsyncClient:
    """A client for the control plane at `url`. Raises ssl.SSLError for broken PEM."""
    headers = {"Content-Type": "application/json"}
    return httpx.AsyncClient(
        base_url=url, verify=farm_context(ca_pem), timeout=_TIMEOUT, limits=_LIMITS, headers=headers
    )


class ControlLink:
    """All methods raise ControlError."""

    def __init__(self, client: httpx.AsyncClient, node_id: str, keys: NodeKeys, clock: Clock) -> None:
        self._client = client
        self._node_id = node_id
        self._keys = keys
        self._clock = clock

    async def close(self) -> None:
        await self._client.aclose()

    async def sync(self, request: SyncRequest) -> SyncResponse:
        return await self._send("POST", SYNC_PATH, request, SyncResponse)

    async def events(self, batch: EventBatch) -> EventAck:
        return await self._send("POST", EVENTS_PATH, batch, EventAck)

    async def watch(self, generation: int) -> WatchResponse:
        """Waits up to 25 s for a generation above `generation`."""
        return await self._send(
            "GET", WATCH_PATH, None, WatchResponse, params={"generation": generation}, timeout=_WATCH_TIMEOUT
        )

    async def bundle(self, terminal_id: str, request_id: str, content: bytes) -> None:
        """Hand over packed logs; doing it again changes nothing."""
        path = f"{BUNDLES_PATH}/{terminal_id}/{request_id}"
        response = await self._ask("PUT", path, content, timeout=_BUNDLE_TIMEOUT)
        if not response.is_success:
            raise _refusal(response)

    async def _send(
        self,
        method: str,
        path: str,
        body: BaseModel | None,
        answer: type[_Answer],
        params: dict[str, int] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,  # noqa: ASYNC109 - httpx's own timeouts, one for each step
    ) -> _Answer:
        content = b"" if body is None else body.model_dump_json().encode()
        return _read(await self._ask(method, path, content, params, timeout), answer)

    async def _ask(
        self,
        method: str,
        path: str,
        content: bytes,
        params: dict[str, int] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,  # noqa: ASYNC109 - httpx's own timeouts, one for each step
    ) -> httpx.Response:
        signature = sign_request(self._keys.identity, self._node_id, method, path, content, self._clock())
        try:
            return await self._client.request(
                method, path, content=content, params=params, headers={"Authorization": signature}, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise UnreachableError(f"{type(error).__name__}: {error}") from error


def _read(response: httpx.Response, answer: type[_Answer]) -> _Answer:
    if response.is_success:
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise UnreachableError("the control plane's answer cannot be understood") from error
    raise _refusal(response)


def _refusal(response: httpx.Response) -> ControlError:
    try:
        problem = response.json()
        code, detail = str(problem["code"]), str(problem.get("detail") or problem.get("title") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return UnreachableError(f"the control plane answered with status {response.status_code}")
    if code in _SHUT_OUT:
        return NodeUnknownError(detail)
    if response.status_code >= 500 or response.status_code == 429:
        return UnreachableError(f"{detail} ({code})")
    return RejectedError(code, detail)
