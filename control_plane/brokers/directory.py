"""Take the directory of broker servers out and in, and describe single servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy.orm import Session

from control_plane.brokers import repository
from control_plane.brokers.model import BrokerServer
from control_plane.brokers.schemas import DirectoryEntry
from control_plane.brokers.server_time import parse_zone
from control_plane.brokers.state import ServerKind, Source
from control_plane.clock import Clock
from control_plane.errors import ConflictError, invalid_field


def export_servers(session: Session) -> list[DirectoryEntry]:
    """All, in the order of their names. Where a simulated broker listens is of this farm alone and stays out."""
    return [
        DirectoryEntry(
            name=each.name,
            company=each.company,
            display_name=each.display_name,
            kind=ServerKind(each.kind),
            time_zone=each.time_zone,
        )
        for each in repository.all_servers(session)
    ]


def import_servers(session: Session, clock: Clock, entries: Sequence[DirectoryEntry]) -> tuple[int, int]:
    """Add those that are missing, correct the others; how many of each. Nothing is taken in when one is wrong.

    Raises InvalidInputError, also for a name that comes twice.
    """
    name, times = next(iter(Counter(each.name for each in entries).most_common(1)), ("", 0))
    if times > 1:
        raise invalid_field("servers", f"The list names {name} more than once.", code="listed_twice")
    for number, entry in enumerate(entries):
        check_zone(entry.time_zone, f"servers.{number}.time_zone")
    added = sum(put_server(session, clock, entry, Source.IMPORT) for entry in entries)
    return added, len(entries) - added


def put_server(session: Session, clock: Clock, entry: DirectoryEntry, source: Source) -> bool:
    """Describe a server. Returns whether it is new. Whether it is simulated is not changed by this."""
    server = repository.by_name(session, entry.name)
    new = server is None
    if server is None:
        server = BrokerServer(name=entry.name, simulated_address=None)
        session.add(server)
    server.company, server.display_name, server.kind = entry.company, entry.display_name, entry.kind
    server.time_zone, server.source, server.updated_at = entry.time_zone, source, clock.now()
    session.flush()
    return new


def remove_server(session: Session, name: str) -> None:
    """Raises ConflictError while an account, connected or removed, or a terminal template names it."""
    if repository.is_used(session, name):
        raise ConflictError("Accounts or terminal templates still name this server.", code="server_in_use")
    repository.delete_server(session, name)


def check_zone(time_zone: str, field: str) -> None:
    """Raises InvalidInputError."""
    if time_zone:
        try:
            parse_zone(time_zone)
        except ValueError as error:
            raise invalid_field(field, f"{error}.", code="unknown_time_zone") from error
