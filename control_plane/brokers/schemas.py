"""Bodies of the broker server directory."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from control_plane.brokers.state import ServerKind, Source

ServerName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")
]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100, pattern=r"^[^\x00-\x1f]*$")]
_MOST_ENTRIES = 1000


class BrokerServerOut(BaseModel):
    name: str
    company: str
    simulated: bool
    display_name: str
    """What people call it; empty when nobody calls it anything but its name."""
    kind: ServerKind
    time_zone: str
    """Of its wall clock; empty when it is not known."""
    source: Source


class BrokerServerList(BaseModel):
    items: list[BrokerServerOut]
    suggestions: list[BrokerServerOut]
    """Servers that look like the text, when none contains it."""


class DescribeServer(BaseModel):
    company: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")
    ]
    display_name: Text = ""
    kind: ServerKind = ServerKind.UNKNOWN
    time_zone: Annotated[str, StringConstraints(strip_whitespace=True, max_length=64)] = ""
    """An IANA name such as `Europe/Athens`, or one with hours added such as `America/New_York+7`."""


class DirectoryEntry(DescribeServer):
    """A server as directories are exchanged."""

    name: ServerName


class Directory(BaseModel):
    servers: Annotated[list[DirectoryEntry], Field(max_length=_MOST_ENTRIES)]
    """At most 1000 in one request; the command line takes any number."""


class ExportedDirectory(BaseModel):
    servers: list[DirectoryEntry]


class ImportedOut(BaseModel):
    added: int
    corrected: int
