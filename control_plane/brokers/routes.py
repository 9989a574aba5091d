"""HTTP of the broker server directory."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from control_plane.api_route import ApiRoute
from control_plane.brokers import repository
from control_plane.brokers.schemas import BrokerServerList, BrokerServerOut
from control_plane.http import FarmDep, OwnerDep
from control_plane.problems import problem_responses

router = APIRouter(tags=["brokers"], route_class=ApiRoute)
_MOST_FOUND = 50


@router.get("/broker-servers", responses=problem_responses(401, 422))
def list_broker_servers(
    farm: FarmDep, _owner: OwnerDep, query: Annotated[str, Query(max_length=100)] = ""
) -> BrokerServerList:
    """Servers whose name or company contains the text."""
    with farm.database.read_as_system() as session:
        found = repository.search(session, query.strip(), _MOST_FOUND)
    return BrokerServerList(
        items=[
            BrokerServerOut(name=each.name, company=each.company, simulated=each.simulated_address is not None)
            for each in found
        ]
    )
