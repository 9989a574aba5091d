"""HTTP of the fleet, for operators."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from fastapi.responses import Response

from control_plane.access.schemas import TicketOut, present_ticket
from control_plane.api_route import ApiRoute
from control_plane.errors import NotFoundError
from control_plane.fleet import repository
from control_plane.fleet.operations import By, node_tag, require_node, require_placement, require_seen
from control_plane.fleet.presentation import present_breaker, present_node, present_node_detail
from control_plane.fleet.schemas import (
    Because,
    BreakerOut,
    DrainNode,
    MoveTerminal,
    NodeDetailOut,
    NodeOut,
    ReleasedOut,
    RequestOfTerminal,
    SetTerminalLeasePolicy,
)
from control_plane.fleet.state import Availability, NodeState
from control_plane.http import CallerDep, FarmDep, OperatorDep
from control_plane.paging import Cursor, Limit, Page, decode_cursor, encode_cursor, split_page
from control_plane.placement.repository import NOTHING, loads
from control_plane.preconditions import TAGGED, IfMatch
from control_plane.problems import problem_responses
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.state import RequestKind
from node_agent.protocol.tickets import Scope

router = APIRouter(tags=["nodes"], prefix="/nodes", route_class=ApiRoute)
_BUNDLES_TRIED = 20
_READ = problem_responses(401, 403, 404)
_DEED = problem_responses(401, 403, 404, 409, 415, 422)


@router.get("", responses=problem_responses(401, 403, 422))
def list_nodes(
    farm: FarmDep,
    _operator: OperatorDep,
    state: NodeState | None = None,
    availability: Availability | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[NodeOut]:
    keys = decode_cursor(cursor, str)
    with farm.database.read_as_system() as session:
        rows = repository.nodes_after(session, state, availability, keys[0] if keys else None, limit + 1)
        page, last = split_page(rows, limit)
        held, now = loads(session), farm.clock.now()
        items = [present_node(session, node, held.get(node.id, NOTHING), now) for node in page]
    return Page(items=items, next_cursor=encode_cursor(last.id) if last else None)


@router.get("/breaker", responses=problem_responses(401, 403))
def get_breaker(farm: FarmDep, _operator: OperatorDep) -> BreakerOut:
    """Whether terminals of lost nodes may be moved at the moment."""
    with farm.database.read_as_system() as session:
        return present_breaker(session, farm.mass_loss)


@router.post("/breaker/lift", responses=problem_responses(401, 403, 409, 415, 422))
def lift_breaker(because: Because, farm: FarmDep, operator: OperatorDep) -> BreakerOut:
    """The nodes that are silent now are really gone, so that their terminals may be moved once proven dead."""
    with farm.database.write_as_system() as session:
        farm.mass_loss.lift(session, operator, because.reason)
        return present_breaker(session, farm.mass_loss)


@router.get("/{node_id}", responses={**_READ, **TAGGED})
def get_node(node_id: str, farm: FarmDep, _operator: OperatorDep, response: Response) -> NodeDetailOut:
    """A node with its terminals, why each of them is where it is, and what was done to the node lately."""
    with farm.database.read_as_system() as session:
        node = require_node(session, node_id, hold=False)
        response.headers["ETag"] = node_tag(node)
        return present_node_detail(session, node, farm.mass_loss, farm.clock.now())


@router.post("/{node_id}/cordon", responses=_DEED)
def cordon_node(
    node_id: str, because: Because, farm: FarmDep, operator: OperatorDep, if_match: IfMatch = None
) -> NodeDetailOut:
    """Place nothing new there. What runs there runs on."""
    with farm.database.write_as_system() as session:
        require_seen(session, node_id, if_match)
        farm.operations.cordon(session, node_id, By(operator, because.reason))
    return _present(farm, node_id)


@router.post("/{node_id}/uncordon", responses=_DEED)
def uncordon_node(
    node_id: str, because: Because, farm: FarmDep, operator: OperatorDep, if_match: IfMatch = None
) -> NodeDetailOut:
    """Place terminals there again; ends a drain or a quarantine, too."""
    with farm.database.write_as_system() as session:
        require_seen(session, node_id, if_match)
        farm.operations.uncordon(session, node_id, By(operator, because.reason))
    return _present(farm, node_id)


@router.post("/{node_id}/drain", status_code=202, responses=_DEED)
def drain_node(
    node_id: str, wish: DrainNode, farm: FarmDep, operator: OperatorDep, if_match: IfMatch = None
) -> NodeDetailOut:
    """Move everything away: flat terminals first, those with positions when flat or at the deadline."""
    with farm.database.write_as_system() as session:
        require_seen(session, node_id, if_match)
        within = timedelta(seconds=wish.within_seconds)
        farm.operations.drain(session, node_id, within, By(operator, wish.reason))
    return _present(farm, node_id)


@router.post("/{node_id}/cancel-drain", responses=_DEED)
def cancel_drain(
    node_id: str, because: Because, farm: FarmDep, operator: OperatorDep, if_match: IfMatch = None
) -> NodeDetailOut:
    """Leave there what is still there. The node stays cordoned."""
    with farm.database.write_as_system() as session:
        require_seen(session, node_id, if_match)
        farm.operations.cancel_drain(session, node_id, By(operator, because.reason))
    return _present(farm, node_id)


@router.post("/{node_id}/confirm-dead", responses=_DEED)
def confirm_node_dead(
    node_id: str, because: Because, farm: FarmDep, operator: OperatorDep, if_match: IfMatch = None
) -> ReleasedOut:
    """Vouch that nothing runs there any more, so that all its terminals start elsewhere. Be sure: if one still runs,
    its account trades from two places.
    """
    with farm.database.write_as_system() as session:
        require_seen(session, node_id, if_match)
        released = farm.operations.confirm_dead(session, node_id, By(operator, because.reason))
    return ReleasedOut(terminals=released)


@router.post("/{node_id}/unlock", responses=_DEED)
def unlock_node(
    node_id: str, because: Because, farm: FarmDep, operator: OperatorDep, if_match: IfMatch = None
) -> NodeDetailOut:
    """Believe the identity again, since only one machine has it now. Two in use lock it again."""
    with farm.database.write_as_system() as session:
        require_seen(session, node_id, if_match)
        farm.operations.unlock(session, node_id, By(operator, because.reason))
    return _present(farm, node_id)


@router.post("/{node_id}/revoke", responses=_DEED)
def revoke_node(
    node_id: str, because: Because, farm: FarmDep, operator: OperatorDep, if_match: IfMatch = None
) -> NodeDetailOut:
    """Never believe this identity again. Its terminals stay where they are until they are proven dead."""
    with farm.database.write_as_system() as session:
        require_seen(session, node_id, if_match)
        farm.operations.revoke_identity(session, node_id, By(operator, because.reason))
    return _present(farm, node_id)


@router.post("/{node_id}/terminals/{terminal_id}/move", status_code=202, responses=_DEED)
def move_terminal(
    node_id: str, terminal_id: str, wish: MoveTerminal, farm: FarmDep, operator: OperatorDep
) -> NodeDetailOut:
    """Stop one terminal here and start it on another node, or on the one chosen."""
    with farm.database.write_as_system() as session:
        by = By(operator, wish.reason)
        farm.operations.move(
            session, node_id, terminal_id, by, with_positions=wish.with_positions, to_node_id=wish.to_node_id
        )
    return _present(farm, node_id)


@router.post("/{node_id}/terminals/{terminal_id}/requests", status_code=202, responses=_DEED)
def request_of_terminal(
    node_id: str, terminal_id: str, wish: RequestOfTerminal, farm: FarmDep, operator: OperatorDep
) -> NodeDetailOut:
    """Have the node restart the terminal once, or collect its logs and its journal."""
    with farm.database.write_as_system() as session:
        farm.operations.request(session, node_id, terminal_id, wish.kind, By(operator, wish.reason))
    return _present(farm, node_id)


@router.post("/{node_id}/terminals/{terminal_id}/view-tickets", status_code=201, responses=_DEED)
def issue_view_ticket(
    node_id: str, terminal_id: str, because: Because, farm: FarmDep, operator: OperatorDep, caller: CallerDep
) -> TicketOut:
    """A permission to look at the terminal's screen once, to help its owner; valid for 60 s."""
    with farm.database.write_as_system() as session:
        target = farm.operations.look(session, node_id, terminal_id, By(operator, because.reason))
    issued = farm.tickets.issue(target, Scope.VIEW, f"user:{caller.user.id}")
    return present_ticket(issued, target, farm.authority)


@router.get(
    "/{node_id}/terminals/{terminal_id}/logs",
    responses=problem_responses(401, 403, 404) | {200: {"content": {"application/gzip": {}}}},
    response_class=Response,
)
def get_logs(node_id: str, terminal_id: str, farm: FarmDep, _operator: OperatorDep) -> Response:
    """The newest logs that the node has handed over, as tar.gz. They are kept for 14 days."""
    with farm.database.read_as_system() as session:
        require_placement(session, node_id, terminal_id)
        asked = terminals_repository.newest_requests(session, terminal_id, RequestKind.COLLECT_LOGS, _BUNDLES_TRIED)
    for each in asked:
        content = farm.bundles.get(each.id)
        if content is not None:
            told = {"Content-Disposition": f'attachment; filename="{terminal_id}-{each.id}.tar.gz"'}
            return Response(content, media_type="application/gzip", headers=told)
    raise NotFoundError("No logs of this terminal have been handed over.", code="no_logs")


@router.put("/{node_id}/terminals/{terminal_id}/lease-policy", responses=_DEED)
def set_terminal_lease_policy(
    node_id: str, terminal_id: str, wish: SetTerminalLeasePolicy, farm: FarmDep, operator: OperatorDep
) -> NodeDetailOut:
    """What becomes of the terminal when its node loses touch with the farm."""
    with farm.database.write_as_system() as session:
        by = By(operator, wish.reason)
        farm.operations.set_lease_policy(session, node_id, terminal_id, wish.policy, by)
    return _present(farm, node_id)


def _present(farm: FarmDep, node_id: str) -> NodeDetailOut:
    with farm.database.read_as_system() as session:
        return present_node_detail(
            session, require_node(session, node_id, hold=False), farm.mass_loss, farm.clock.now()
        )
