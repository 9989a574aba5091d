"""The two exchanges that every node has all the time: its report, and its wait for news.

They are plain routes, since to find out what a function wants to be given would cost more than the exchanges do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from anyio import CapacityLimiter
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.agent_api.routes import address_of, claimed_node_of, unreadable
from control_plane.container import Farm
from control_plane.errors import FarmError, invalid_field
from control_plane.fleet.service import SignedReport
from control_plane.limits.service import require
from control_plane.together import Together
from node_agent.protocol.messages import SYNC_PATH, WATCH_PATH, WatchResponse

_LONGEST_SIGNATURE = 2000
_MOST_DIGITS = 18
_ALL = ""
"""All nodes are asked about together."""


def add_exchanges(app: FastAPI, farm: Farm, threads: CapacityLimiter) -> None:
    app.router.routes.append(_Exchange("POST", SYNC_PATH, Reports(farm)))
    app.router.routes.append(_Exchange("GET", WATCH_PATH, Watches(farm, threads)))


class _Exchange(Route):
    """Says by which route a request was found, as others do, so that it is counted under its name."""

    def __init__(self, method: str, path: str, exchange: ASGIApp) -> None:
        super().__init__(path, exchange, methods=[method])
        self.methods = {method}  # and no HEAD, which would wait for news as a GET does

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match is not Match.NONE:
            found["route"] = self
        return match, found


class Reports:
    """The node's whole view up, the whole desired snapshot down."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        # The body as it was signed, byte for byte.
        report = SignedReport.read(_signature(request), SYNC_PATH, await request.body(), address_of(request))
        require(self._farm.limits.node(report.node_id))
        answer = await asyncio.wrap_future(self._farm.reports.put(report))
        if isinstance(answer, ValidationError):
            raise unreadable(answer) from answer
        if isinstance(answer, Exception):
            raise answer
        self._farm.limits.node_answered(report.node_id)
        await Response(answer.model_dump_json(), media_type="application/json")(scope, receive, send)


class Watches:
    """Answers as soon as there is a newer generation, at the latest after 25 s."""

    def __init__(self, farm: Farm, threads: CapacityLimiter) -> None:
        self._farm = farm
        # As many as come at the same time are looked up with one query, and none holds a thread while it waits.
        self._signed = Together[str, int](lambda _, headers: self._of_signed(headers), threads)
        self._newest = Together[str, int](lambda _, node_ids: farm.agent_api.generations(node_ids), threads)

    def _of_signed(self, headers: Sequence[str]) -> list[int | FarmError]:
        return self._farm.agent_api.signed_watches(WATCH_PATH, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        signature, known = _signature(request), _known_generation(request)
        node_id = claimed_node_of(signature)

        async def authenticated() -> int:
            require(self._farm.limits.node(node_id))
            generation = await self._signed.ask(_ALL, signature)
            self._farm.limits.node_answered(node_id)
            return generation

        async def newest(node_id: str) -> int:
            return await self._newest.ask(_ALL, node_id)

        generation = await self._farm.agent_api.watch(node_id, known, authenticated, newest)
        body = WatchResponse(generation=generation).model_dump_json()
        await Response(body, media_type="application/json")(scope, receive, send)


def _signature(request: Request) -> str:
    """Raises InvalidInputError."""
    header = request.headers.get("authorization")
    if header is None or len(header) > _LONGEST_SIGNATURE:
        raise invalid_field("Authorization", f"A signature of at most {_LONGEST_SIGNATURE} characters is needed.")
    return header


def _known_generation(request: Request) -> int:
    """Raises InvalidInputError."""
    text = request.query_params.get("generation", "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise invalid_field("generation", "This must be a whole number, 0 or more.")
    return int(text)
