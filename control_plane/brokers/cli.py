"""`mt5farm broker-server ...`: the directory of broker servers, on the machine of the control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from control_plane.audit.service import Deed
from control_plane.brokers.directory import check_zone, export_servers, import_servers
from control_plane.brokers.schemas import DirectoryEntry, ExportedDirectory
from control_plane.brokers.service import add_server
from control_plane.brokers.state import ServerKind
from control_plane.errors import invalid_field
from control_plane.fleet import repository as fleet_repository
from control_plane.fleet.commands import this_person
from control_plane.opening import Data, open_farm

broker_servers = typer.Typer(help="The directory of broker servers.", no_args_is_help=True)


@broker_servers.command("add")
def add_broker_server(
    data: Data,
    name: Annotated[str, typer.Option(help="Name of the trade server, as MT5 shows it.")],
    company: Annotated[str, typer.Option(help="Company that runs it.")],
    simulated_address: Annotated[str | None, typer.Option(help="host:port of a simulated broker.")] = None,
    display_name: Annotated[str, typer.Option(help="What people call it.")] = "",
    kind: Annotated[ServerKind, typer.Option(help="What the broker says it is.")] = ServerKind.UNKNOWN,
    time_zone: Annotated[str, typer.Option(help="Of its clock: Europe/Athens, America/New_York+7.")] = "",
) -> None:
    """Add a broker server to the directory, or correct it."""
    check_zone(time_zone, "time_zone")
    farm = open_farm(data)
    with farm.database.write_as_system() as session:
        server = add_server(session, farm.clock, name, company, simulated_address)
        server.display_name, server.kind, server.time_zone = display_name, kind, time_zone
        facts = {"company": company, "simulated_address": simulated_address, "kind": kind, "time_zone": time_zone}
        deed = Deed(this_person(), "set_broker_server", name[:40], "", after=facts)
        farm.audit.record(session, farm.identity.bootstrap(session).id, deed)
        # Terminals of this server may have to log in elsewhere, so every node looks again.
        fleet_repository.raise_all_generations(session)
    farm.stop()


@broker_servers.command("export")
def export_broker_servers(data: Data) -> None:
    """Print the directory as JSON, for another farm or to edit and import again."""
    farm = open_farm(data)
    with farm.database.read_as_system() as session:
        print(ExportedDirectory(servers=export_servers(session)).model_dump_json(indent=2))
    farm.stop()


@broker_servers.command("import")
def import_broker_servers(
    file: Annotated[Path, typer.Argument(help="JSON as `export` prints it.", exists=True, dir_okay=False)], data: Data
) -> None:
    """Add servers and correct those that are known: all of the file, or nothing when a part of it is wrong."""
    entries = _read(file)
    farm = open_farm(data)
    try:
        with farm.database.write_as_system() as session:
            added, corrected = import_servers(session, farm.clock, entries)
            facts = {"added": added, "corrected": corrected}
            deed = Deed(this_person(), "import_broker_servers", "broker_servers", "", after=facts)
            farm.audit.record(session, farm.identity.bootstrap(session).id, deed)
    finally:
        farm.stop()
    print(f"{added} added, {corrected} corrected")


def _read(file: Path) -> list[DirectoryEntry]:
    """Raises InvalidInputError with the first thing that is wrong."""
    try:
        return TypeAdapter(ExportedDirectory).validate_json(file.read_bytes()).servers
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise invalid_field("file", f"{file} is no directory of broker servers: {where}: {first['msg']}") from error
