"""HTTP of live updates."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from control_plane.api_route import ApiRoute
from control_plane.errors import ForbiddenError, UnauthorisedError
from control_plane.http import FarmDep, OwnerDep, authenticate
from control_plane.problems import problem_responses

router = APIRouter(tags=["stream"], route_class=ApiRoute)


@router.get(
    "/stream",
    response_class=StreamingResponse,
    responses={
        **problem_responses(401),
        200: {
            "description": "Server-sent events `account` (Account), `bot` (Bot), `deal` (account_id and Deal) and "
            "`order` (Order), with a comment as heartbeat every 15 s.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
    },
)
async def stream_changes(request: Request, farm: FarmDep, owner: OwnerDep) -> StreamingResponse:
    """Changes of everything the user owns, as they happen. Truth is in the lists; this only tells when to look."""

    async def still_signed_in() -> bool:
        try:
            await to_thread.run_sync(authenticate, request, farm)
        except (UnauthorisedError, ForbiddenError):
            return False
        return True

    return StreamingResponse(
        farm.live.events(owner, still_signed_in),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )
