"""Tells callers how they stand with their budget: RateLimit fields (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control_plane.limits.rate import Standing

_STANDING = "mt5farm.standing"


def note_standing(scope: Scope, standing: Standing) -> None:
    """For the answer to this request."""
    scope[_STANDING].append(standing)


class RateLimitHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # A list of its own: what lies deeper may be handed a copy of the scope.
        standings: list[Standing] = []
        scope[_STANDING] = standings

        async def send_with_standing(message: Message) -> None:
            if message["type"] == "http.response.start" and standings:
                found = standings[-1]
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = f'"{found.name}";q={found.rate.count};w={found.rate.seconds}'
                headers["RateLimit"] = f'"{found.name}";r={found.remaining};t={found.reset_after}'
            await send(message)

        await self._app(scope, receive, send_with_standing)
