"""What surrounds every request: a request id for the logs, headers for browsers, and the guard against forgery."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.audit.origin import coming_from
from control_plane.errors import FarmError, ForbiddenError, TooLargeError, UnsupportedMediaError
from control_plane.ids import new_id
from control_plane.problems import problem_response

_log = structlog.get_logger("control_plane.access_log")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_QUIET_PATHS = frozenset({"/healthz", "/readyz"})
_MOST_READ_AWAY = 8 * 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")

SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


class RequestLog:
    """Gives each request an id, answers with it, and logs method, path, status and time; never bodies or queries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = Headers(scope=scope).get("x-request-id", "")
        request_id = wanted if _REQUEST_ID.fullmatch(wanted) else new_id("req")
        started, status = time.monotonic(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        client = scope.get("client")
        origin = f"{client[0] if client else 'unknown'} {request_id}"
        with structlog.contextvars.bound_contextvars(request_id=request_id), coming_from(origin):
            try:
                await self._app(scope, receive, send_with_id)
            finally:
                if scope["path"] not in _QUIET_PATHS:
                    took = round((time.monotonic() - started) * 1000)
                    log = _log.info if status >= 400 else _log.debug
                    log("request", method=scope["method"], path=scope["path"], status=status, milliseconds=took)


class BodyLimit:
    """Refuses bodies that no request of the farm needs, before anybody has proved who they are."""

    def __init__(self, app: ASGIApp, most_bytes: int, larger: Mapping[str, int] | None = None) -> None:
        """`larger` are the limits of addresses that begin so."""
        self._app = app
        self._usual_bytes = most_bytes
        self._larger = larger or {}

    def _limit(self, path: str) -> int:
        return max([self._usual_bytes, *(most for start, most in self._larger.items() if path.startswith(start))])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most_bytes = self._limit(scope["path"])
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > most_bytes:
            await _read_away(receive, announced)
            await problem_response(_too_large())(scope, receive, send)
            return
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most_bytes:
                raise _too_large()
            return message

        await self._app(scope, receive_some, send)


async def _read_away(receive: Receive, announced: str) -> None:
    """A connection that is closed while its client still sends is reset, and the client never sees the answer.

    Who announces more than anybody could send by mistake need not see it.
    """
    if not announced.isdecimal() or int(announced) > _MOST_READ_AWAY:
        return
    while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
        pass


def _too_large() -> TooLargeError:
    return TooLargeError("The body is too large.")


class BrowserSecurity:
    """Security headers on every answer, and no caching of API answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class ForgeryGuard:
    """Refuses requests that change something unless they come from the farm's own pages.

    The session cookie alone proves nothing, since browsers attach it to requests that other sites cause. They never
    attach a key for programs, and where there is one, the cookie is not looked at.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in _SAFE_METHODS and scope["path"].startswith("/api/"):
            problem = _forgery(Headers(scope=scope))
            if problem is not None:
                await problem_response(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def comes_from_our_pages(headers: Headers) -> bool:
    """By the Origin header, which no page can forge and browsers always send where it matters."""
    origin = headers.get("origin")
    return origin is not None and origin != "null" and urlsplit(origin).netloc == headers.get("host")


def _forgery(headers: Headers) -> FarmError | None:
    origin = headers.get("origin")
    if "authorization" in headers:
        same = True
    elif origin is None:
        same = headers.get("sec-fetch-site") == "same-origin"
    else:
        same = comes_from_our_pages(headers)
    if not same:
        return ForbiddenError(
            "The request must come from the farm's own pages: send an Origin header that names this host.",
            code="foreign_origin",
        )
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and media_type != "application/json":
        return UnsupportedMediaError("Send the body as application/json.")
    return None
