"""HTTP of live updates."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from control_plane.api_route import ApiRoute
from control_plane.errors import ForbiddenError, UnauthorisedError
from control_plane.http import FarmDep, OwnerDep, authenticate
from control_plane.identity.owner import Owner
from control_plane.problems import problem_responses
from control_plane.stream.places import StreamPlaces

router = APIRouter(tags=["stream"], route_class=ApiRoute)
_EVENTS = (
    "Server-sent events `account` (Account), `bot` (Bot), `deal` (account_id and Deal), `order` (Order) and `notice` "
    "(Notice and the count of unread ones), each with an id to go on from; `heartbeat` after 15 s of silence, whose "
    "`live` is false while changes may be missing; `reset` when what happened since the given id is not known any "
    "more, so that everything has to be read anew."
)
EventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)]


class _Stream(StreamingResponse):
    """Leaves its place however it ends, also when its browser has gone before it began."""

    def __init__(self, owner: Owner, places: StreamPlaces, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # those of StreamingResponse, which are not named once more
        self._owner = owner
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.leave(self._owner)


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        **problem_responses(401),
        200: {"description": _EVENTS, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
    },
)
async def stream_changes(
    request: Request,
    farm: FarmDep,
    owner: OwnerDep,
    last_event_id: EventId = None,
    after: Annotated[str | None, Query(max_length=64, description="The same for clients that cannot set it.")] = None,
) -> StreamingResponse:
    """Changes of everything the user owns, as they happen. Truth is in the lists; this only tells when to look."""

    async def still_signed_in() -> bool:
        try:
            await to_thread.run_sync(authenticate, request, farm)
        except (UnauthorisedError, ForbiddenError):
            return False
        return True

    farm.live.places.take(owner)
    return _Stream(
        owner,
        farm.live.places,
        content=farm.live.events(owner, last_event_id or after, still_signed_in),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
