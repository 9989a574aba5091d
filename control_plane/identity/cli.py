"""`mt5farm users ...`: what an operator does for users on the machine of the control plane, without signing in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from control_plane.audit.service import Deed
from control_plane.container import Farm
from control_plane.errors import ConfigurationError
from control_plane.fleet.commands import this_person
from control_plane.identity import repository
from control_plane.identity.state import Role, SecurityChange
from control_plane.opening import Data, open_farm

users = typer.Typer(help="The people who sign in.", no_args_is_help=True)
Email = Annotated[str, typer.Argument(help="E-mail address of the user.")]
_MAILS_SHOWN = 10


@users.command("add")
def add_user(
    data: Data,
    email: Email,
    name: Annotated[str, typer.Option(help="Shown in the portal.")],
    role: Annotated[Role, typer.Option(help="`owner` and `ops` run the fleet.")] = Role.TRADER,
) -> None:
    """Make a user whose address you vouch for. The password is asked for, or read from the input."""
    password = (
        typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        if sys.stdin.isatty()
        else sys.stdin.readline().rstrip("\n")
    )
    with _changing(data) as (farm, session):
        user = farm.registration.add_user(session, email, password, name, role)
        farm.audit.record(session, user.tenant_id, Deed(this_person(), "add_user", user.id, role))


@users.command("invite")
def invite_user(
    data: Data,
    email: Email,
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.TRADER,
    tenant: Annotated[str, typer.Option(help="Name of a broker that rents capacity; the operator unless said.")] = "",
    days: Annotated[int, typer.Option(min=1, max=30, help="How long the link works.")] = 7,
) -> None:
    """Send somebody a link to choose a password and become one of a tenant's people."""
    with _changing(data) as (farm, session):
        found = repository.tenant_by_name(session, tenant) if tenant else farm.identity.bootstrap(session)
        if found is None:
            raise ConfigurationError(f"there is no tenant named {tenant}")
        farm.invitations.put(session, found.id, this_person(), email, role, timedelta(days=days))


@users.command("remove-second-factor")
def remove_second_factor(
    data: Data, email: Email, reason: Annotated[str, typer.Option(help="Kept in the audit trail.")]
) -> None:
    """For somebody who has lost app, passkeys and recovery codes, and whom you have recognised otherwise.

    Ends all sessions.
    """
    with _changing(data) as (farm, session):
        user = farm.identity.require_user(session, email)
        farm.second_factors.remove_all(session, user.id)
        repository.delete_sessions_of(session, user.id)
        repository.delete_devices_of(session, user.id)
        farm.audit.record(session, user.tenant_id, Deed(this_person(), "remove_second_factor", user.id, reason))
        farm.notices.tell(session, user, SecurityChange.REMOVE_SECOND_FACTOR)


@users.command("mails")
def show_mails(data: Data) -> None:
    """The newest mails of a farm that records them instead of sending."""
    farm = open_farm(data)
    try:
        if farm.recorded_post is None:
            raise ConfigurationError("this farm sends its mail; nothing is recorded")
        for mail in reversed(farm.recorded_post.newest(_MAILS_SHOWN)):
            print(f"{mail.sent_at:%Y-%m-%d %H:%M} to {mail.recipient}: {mail.subject}\n\n{mail.text}")
    finally:
        farm.stop()


@contextmanager
def _changing(data: Data) -> Iterator[tuple[Farm, Session]]:
    """One transaction. Raises FarmError, with a text that is safe to show."""
    farm = open_farm(data)
    try:
        with farm.database.write_as_system() as session:
            yield farm, session
    finally:
        farm.stop()
