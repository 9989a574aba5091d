"""Counts and times requests by the template of their route, so that no id of anybody becomes a label."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.telemetry.metrics import Metrics

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NOWHERE = "none"
"""Of requests that no route was found for, and of such that were refused before."""


class RequestCount:
    def __init__(self, app: ASGIApp, metrics: Metrics, name: str, prefix: str = "") -> None:
        self._app = app
        self._metrics = metrics
        self._name = name
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_look)
        finally:
            route = self._template(scope)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(self._name, method, route, str(status)).inc()
            self._metrics.request_seconds.labels(self._name, method, route).observe(time.monotonic() - started)

    def _template(self, scope: Scope) -> str:
        route: str = getattr(scope.get("route"), "path", _NOWHERE)
        # A route of an included router does not know under which prefix it was included.
        here = scope["path"].startswith(f"{self._prefix}/") and not route.startswith(self._prefix)
        return f"{self._prefix}{route}" if here and route != _NOWHERE else route
