"""HTTP of the broker server directory: everybody searches, operators describe, import and export."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from control_plane.api_route import ApiRoute
from control_plane.audit.service import Deed
from control_plane.brokers import directory, repository
from control_plane.brokers.model import BrokerServer
from control_plane.brokers.schemas import (
    BrokerServerList,
    BrokerServerOut,
    DescribeServer,
    Directory,
    DirectoryEntry,
    ExportedDirectory,
    ImportedOut,
)
from control_plane.brokers.service import find_servers
from control_plane.brokers.state import ServerKind, Source
from control_plane.errors import NotFoundError
from control_plane.http import FarmDep, OperatorDep, OwnerDep
from control_plane.problems import problem_responses

router = APIRouter(tags=["brokers"], route_class=ApiRoute)
keeper_router = APIRouter(tags=["nodes"], prefix="/broker-directory", route_class=ApiRoute)
"""For operators, and so for keys of the scope `fleet`."""
_MOST_FOUND = 50
_DEED = problem_responses(401, 403, 404, 409, 415, 422)
_Name = Annotated[str, Path(max_length=64)]


@router.get("/broker-servers", responses=problem_responses(401, 422))
def list_broker_servers(
    farm: FarmDep, _owner: OwnerDep, query: Annotated[str, Query(max_length=100)] = ""
) -> BrokerServerList:
    """Servers whose names or company contain the text, or those that look like it when there are none."""
    with farm.database.read_as_system() as session:
        found, alike = find_servers(session, query.strip(), _MOST_FOUND)
    return BrokerServerList(items=list(map(_present, found)), suggestions=list(map(_present, alike)))


@keeper_router.get("", responses=problem_responses(401, 403))
def export_directory(farm: FarmDep, _operator: OperatorDep) -> ExportedDirectory:
    """All servers, as they can be imported into another farm."""
    with farm.database.read_as_system() as session:
        return ExportedDirectory(servers=directory.export_servers(session))


@keeper_router.post("", responses=problem_responses(401, 403, 415, 422))
def import_directory(wish: Directory, farm: FarmDep, operator: OperatorDep) -> ImportedOut:
    """Add servers and correct those that are known. All of them, or none when one is wrong."""
    with farm.database.write_as_system() as session:
        added, corrected = directory.import_servers(session, farm.clock, wish.servers)
        facts = {"added": added, "corrected": corrected}
        deed = Deed(operator, "import_broker_servers", "broker_servers", "", after=facts)
        farm.audit.record(session, farm.identity.bootstrap(session).id, deed)
    return ImportedOut(added=added, corrected=corrected)


@keeper_router.put("/{name}", responses=_DEED)
def describe_server(name: _Name, wish: DescribeServer, farm: FarmDep, operator: OperatorDep) -> BrokerServerOut:
    """Say more about a server that the directory has. New ones come by import or by the command line."""
    directory.check_zone(wish.time_zone, "time_zone")
    with farm.database.write_as_system() as session:
        known = _require(repository.by_name(session, name))
        directory.put_server(session, farm.clock, DirectoryEntry(name=known.name, **wish.model_dump()), Source.OPERATOR)
        deed = Deed(operator, "set_broker_server", name[:40], "", after=wish.model_dump(mode="json"))
        farm.audit.record(session, farm.identity.bootstrap(session).id, deed)
        return _present(known)


@keeper_router.delete("/{name}", status_code=204, responses=_DEED)
def remove_server(name: _Name, farm: FarmDep, operator: OperatorDep) -> Response:
    """Refused while an account or a terminal template names it."""
    with farm.database.write_as_system() as session:
        _require(repository.by_name(session, name))
        directory.remove_server(session, name)
        deed = Deed(operator, "remove_broker_server", name[:40], "")
        farm.audit.record(session, farm.identity.bootstrap(session).id, deed)
    return Response(status_code=204)


def _require(server: BrokerServer | None) -> BrokerServer:
    if server is None:
        raise NotFoundError("The directory has no such server.", code="broker_server_not_found")
    return server


def _present(server: BrokerServer) -> BrokerServerOut:
    return BrokerServerOut(
        name=server.name,
        company=server.company,
        simulated=server.simulated_address is not None,
        display_name=server.display_name,
        kind=ServerKind(server.kind),
        time_zone=server.time_zone,
        source=Source(server.source),
    )
