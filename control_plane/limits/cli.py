"""`mt5farm limits ...`: what tenants may do more or less than the settings say."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from control_plane.audit.service import Deed
from control_plane.errors import NotFoundError, invalid_field
from control_plane.fleet.commands import this_person
from control_plane.limits import repository
from control_plane.limits.model import TenantLimits
from control_plane.limits.rate import Rate
from control_plane.opening import Data, open_farm

limits = typer.Typer(help="Limits of tenants that differ from the settings.", no_args_is_help=True)
_RATES = ("requests_of_key", "requests_of_user", "requests_of_tenant")
_STREAMS = ("streams_of_user", "streams_of_tenant")
RateText = Annotated[str | None, typer.Option(help="requests/seconds; the setting's unless said.")]
Number = Annotated[int | None, typer.Option(min=1, help="Open streams in one process; the setting's unless said.")]


@limits.command("list")
def list_limits(data: Data) -> None:
    """Every tenant, with what differs from the settings."""
    farm = open_farm(data)
    with farm.database.read_as_system() as session:
        own = {row.tenant_id: row for row in repository.every(session)}
        names = [(each.id, each.name) for each in repository.tenants(session)]
    farm.stop()
    table = Table("tenant", *(name.replace("_", " ") for name in (*_RATES, *_STREAMS)))
    for tenant_id, name in names:
        row = own.get(tenant_id)
        found = [None if row is None else getattr(row, column) for column in (*_RATES, *_STREAMS)]
        table.add_row(name, *("-" if each is None else str(each) for each in found))
    Console().print(table)


@limits.command("set")
def set_limits(
    data: Data,
    tenant: Annotated[str, typer.Argument(help="Name of the tenant.")],
    reason: Annotated[str, typer.Option("--reason", help="Kept in the audit trail.")],
    requests_of_key: RateText = None,
    requests_of_user: RateText = None,
    requests_of_tenant: RateText = None,
    streams_of_user: Number = None,
    streams_of_tenant: Number = None,
) -> None:
    """Say all limits of one tenant; what is not said is as in the settings. In force within 30 s."""
    rates = dict(zip(_RATES, (requests_of_key, requests_of_user, requests_of_tenant), strict=True))
    wanted = {**rates, **dict(zip(_STREAMS, (streams_of_user, streams_of_tenant), strict=True))}
    for name, text in rates.items():
        _check(name, text)
    farm = open_farm(data)
    with farm.database.write_as_system() as session:
        found = repository.tenant(session, tenant)
        if found is None:
            raise NotFoundError(f"There is no tenant '{tenant}'; `mt5farm limits list` names them.")
        session.merge(TenantLimits(tenant_id=found.id, **wanted))
        deed = Deed(this_person(), "set_limits", found.id, reason, after=wanted)
        farm.audit.record(session, found.id, deed)
    farm.stop()


def _check(name: str, text: str | None) -> None:
    """Raises InvalidInputError."""
    try:
        if text is not None:
            Rate.parse(text)
    except ValueError as error:
        raise invalid_field(name, f"{error}.") from error
