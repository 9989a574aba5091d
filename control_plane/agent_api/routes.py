"""HTTP of the agent API, served with TLS from the farm's own authority; for what is asked most see `exchanges`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.responses import FileResponse
from pydantic import ValidationError

from control_plane.container import Farm
from control_plane.errors import InvalidInputError, UnauthorisedError
from control_plane.http import FarmDep
from control_plane.limits.service import require
from node_agent.protocol import identity
from node_agent.protocol.messages import (
    BUNDLES_PATH,
    CODE_PATH,
    ENROLL_PATH,
    EVENTS_PATH,
    TEMPLATES_PATH,
    EnrollRequest,
    EnrollResponse,
    EventAck,
)

router = APIRouter(tags=["agents"])
_Answer = TypeVar("_Answer")
Signature = Annotated[str, Header(alias="Authorization", max_length=2000)]


@router.post(ENROLL_PATH, status_code=201)
def enroll_node(wish: EnrollRequest, request: Request, farm: FarmDep) -> EnrollResponse:
    """Trade a one-time token for an identity and a gateway certificate."""
    address = address_of(request)
    require(farm.limits.enrolment(address))
    try:
        return farm.agent_api.enroll(wish, address)
    except UnauthorisedError:
        farm.limits.enrolment_refused(address)
        raise


@router.post(EVENTS_PATH)
async def deliver_events(request: Request, farm: FarmDep, authorization: Signature) -> EventAck:
    """Events from the node's spool; delivering one again changes nothing."""
    body = await request.body()  # as it was signed, byte for byte
    return await _answer(request, farm, farm.agent_api.events, authorization, EVENTS_PATH, body)


@router.put(BUNDLES_PATH + "/{terminal_id}/{request_id}", status_code=204)
async def take_bundle(
    terminal_id: str, request_id: str, request: Request, farm: FarmDep, authorization: Signature
) -> None:
    """Collected logs as tar.gz; handing them over again changes nothing."""
    body = await request.body()
    path = f"{BUNDLES_PATH}/{terminal_id}/{request_id}"
    await _answer(request, farm, farm.agent_api.take_bundle, authorization, path, terminal_id, request_id, body)


@router.get(TEMPLATES_PATH + "/{sha256}", response_class=FileResponse)
def send_template(
    farm: FarmDep, authorization: Signature, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
) -> FileResponse:
    """The bytes of a terminal template. Ranges are served, so that what was cut off is resumed."""
    node_id = claimed_node_of(authorization)
    require(farm.limits.node(node_id))
    with farm.database.write_as_system() as session:
        farm.fleet.authenticate(session, authorization, "GET", f"{TEMPLATES_PATH}/{sha256}", b"")
        archive = farm.releases.archive_for_nodes(session, sha256)
    farm.limits.node_answered(node_id)
    return FileResponse(archive, media_type="application/gzip")


@router.get(CODE_PATH + "/{sha256}", response_class=Response)
def send_code(
    farm: FarmDep, authorization: Signature, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
) -> Response:
    """The packed bytes of a user's strategy, for a node that runs a bot with it."""
    node_id = claimed_node_of(authorization)
    require(farm.limits.node(node_id))
    with farm.database.write_as_system() as session:
        node = farm.fleet.authenticate(session, authorization, "GET", f"{CODE_PATH}/{sha256}", b"").node
        content = farm.strategies.code_for_node(session, node.id, sha256)
    farm.limits.node_answered(node_id)
    return Response(content, media_type="application/zip")


def address_of(request: Request) -> str:
    """Where the node calls from."""
    return request.client.host if request.client else ""


async def _answer(
    request: Request, farm: Farm, exchange: Callable[..., _Answer], authorization: str, *arguments: object
) -> _Answer:
    """What `exchange` answers, in a thread that no request of the portal can take away from the nodes."""
    threads: CapacityLimiter = request.app.state.threads
    node_id = claimed_node_of(authorization)
    require(farm.limits.node(node_id))
    try:
        answer = await to_thread.run_sync(exchange, authorization, *arguments, limiter=threads)
    except ValidationError as error:
        raise unreadable(error) from error
    farm.limits.node_answered(node_id)
    return answer


def unreadable(error: ValidationError) -> InvalidInputError:
    return InvalidInputError(f"The body is not what this exchange takes ({error.error_count()} errors).")


def claimed_node_of(authorization: str) -> str:
    """Empty when the header names none; such a request is refused for its signature."""
    try:
        return identity.claimed_node(authorization)
    except identity.IdentityError:
        return ""
