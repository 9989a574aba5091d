"""`mt5farm template ...`: which build of MetaTrader 5 runs where, on the machine of the control plane."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from control_plane.audit.service import Deed
from control_plane.container import Farm
from control_plane.fleet.commands import this_person
from control_plane.opening import Data, open_farm
from control_plane.releases import repository

templates = typer.Typer(help="Installed MetaTrader 5 folders of your brokers.", no_args_is_help=True)

Server = Annotated[str, typer.Argument(help="Name of the trade server, as MT5 shows it.")]
Template = Annotated[str, typer.Argument(help="Id of the template, as `mt5farm template list` shows it.")]


@templates.command("import")
def import_template(
    path: Annotated[Path, typer.Argument(help="Installed portable folder, or a zip or tar of one.", exists=True)],
    data: Data,
    broker: Annotated[str, typer.Option(help="Company of the broker.")],
    server: Annotated[list[str] | None, typer.Option(help="Trade server that it is for; may be repeated.")] = None,
) -> None:
    """Keep an installed terminal for the nodes. The farm brings no MetaTrader 5 of its own."""
    with _changing(data) as (farm, session):
        template = farm.releases.import_template(session, path, broker, server or [])
        _record(farm, session, "import_template", template.id, f"build {template.build} of {broker}")
    print(f"{template.id}  {template.broker}  build {template.build}  {template.size} bytes  {template.sha256}")


@templates.command("list")
def list_templates(data: Data) -> None:
    """Templates, and which servers run them."""
    with _changing(data) as (_, session):
        pins, trials = repository.pins(session), repository.trials(session)
        for each in repository.templates(session):
            pinned = [pin.server for pin in pins if pin.template_id == each.id]
            tried = [f"{trial.server} on {trial.node_id}" for trial in trials if trial.template_id == each.id]
            print(
                f"{each.id}  build {each.build}  {each.broker}  pinned: {', '.join(pinned) or '-'}  "
                f"on trial: {', '.join(tried) or '-'}"
            )


@templates.command("pin")
def pin(server: Server, template: Template, data: Data) -> None:
    """Let all terminals of a server run a template; each restarts once."""
    with _changing(data) as (farm, session):
        farm.releases.pin(session, server, template)
        _record(farm, session, "pin_template", template, server)


@templates.command("try")
def try_on(
    server: Server,
    template: Template,
    data: Data,
    node: Annotated[str, typer.Option(help="Id of the node that tries it.")],
) -> None:
    """Let the terminals of a server run a template on one node only."""
    with _changing(data) as (farm, session):
        farm.releases.try_on(session, server, template, node)
        _record(farm, session, "try_template", template, f"{server} on {node}")


@templates.command("roll-back")
def roll_back(server: Server, data: Data) -> None:
    """End a trial, or else return to what was pinned before."""
    with _changing(data) as (farm, session):
        template = farm.releases.roll_back(session, server)
        _record(farm, session, "roll_back_template", template.id if template else "", server)
    print(f"{server} runs build {template.build} ({template.id})" if template else f"{server} has no template now")


@templates.command("remove")
def remove(template: Template, data: Data) -> None:
    """Remove a template that no server uses or could roll back to."""
    with _changing(data) as (farm, session):
        farm.releases.remove(session, template)
        _record(farm, session, "remove_template", template, "")


@contextmanager
def _changing(data: Path) -> Iterator[tuple[Farm, Session]]:
    """One transaction. Raises FarmError, with a text that is safe to show."""
    farm = open_farm(data)
    try:
        with farm.database.write_as_system() as session:
            yield farm, session
    finally:
        farm.stop()


def _record(farm: Farm, session: Session, action: str, subject: str, reason: str) -> None:
    farm.audit.record(session, farm.identity.bootstrap(session).id, Deed(this_person(), action, subject, reason))
