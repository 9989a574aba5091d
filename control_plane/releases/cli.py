"""`mt5farm template`: terminal templates on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

import typer
from sqlalchemy.orm import Session

from control_plane.container import Farm
from control_plane.errors import FarmError
from control_plane.releases import repository

Data = Annotated[Path, typer.Option("--data", help="Folder of everything the control plane keeps.")]
Server = Annotated[str, typer.Argument(help="Name of the trade server, as MT5 shows it.")]
Template = Annotated[str, typer.Argument(help="Id of the template, as `mt5farm template list` shows it.")]


class OpenFarm(Protocol):
    """Opens the farm in a data folder."""

    def __call__(self, data: Path) -> Farm: ...


@contextmanager
def _changing(farm: Farm) -> Iterator[tuple[Farm, Session]]:
    """One transaction. What the farm refuses is said in one sentence, and the command exits with 2."""
    try:
        with farm.database.write() as session:
            yield farm, session
    except (FarmError, OSError) as error:
        print(f"mt5farm: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    finally:
        farm.stop()


def template_commands(open_farm: OpenFarm) -> typer.Typer:
    """The group of commands."""
    group = typer.Typer(
        help="Terminal templates: installed MetaTrader 5 folders of your brokers.", no_args_is_help=True
    )

    @group.command("import")
    def import_template(
        path: Annotated[Path, typer.Argument(help="Installed portable folder, or a zip or tar of one.", exists=True)],
        data: Data,
        broker: Annotated[str, typer.Option(help="Company of the broker.")],
        server: Annotated[list[str] | None, typer.Option(help="Trade server that it is for; may be repeated.")] = None,
    ) -> None:
        """Keep an installed terminal for the nodes. The farm brings no MetaTrader 5 of its own."""
        with _changing(open_farm(data)) as (farm, session):
            template = farm.releases.import_template(session, path, broker, server or [])
            print(f"{template.id}  {template.broker}  build {template.build}  {template.size} bytes  {template.sha256}")

    @group.command("list")
    def list_templates(data: Data) -> None:
        """Templates, and which servers run them."""
        with _changing(open_farm(data)) as (_, session):
            for each in repository.templates(session):
                pinned = [pin.server for pin in repository.pins(session) if pin.template_id == each.id]
                tried = [
                    f"{trial.server} on {trial.node_id}"
                    for trial in repository.trials(session)
                    if trial.template_id == each.id
                ]
                print(
                    f"{each.id}  build {each.build}  {each.broker}  pinned: {', '.join(pinned) or '-'}  "
                    f"on trial: {', '.join(tried) or '-'}"
                )

    @group.command("pin")
    def pin(server: Server, template: Template, data: Data) -> None:
        """Let all terminals of a server run a template; each restarts once."""
        with _changing(open_farm(data)) as (farm, session):
            farm.releases.pin(session, server, template)

    @group.command("try")
    def try_on(
        server: Server,
        template: Template,
        data: Data,
        node: Annotated[str, typer.Option(help="Id of the node that tries it.")],
    ) -> None:
        """Let the terminals of a server run a template on one node only."""
        with _changing(open_farm(data)) as (farm, session):
            farm.releases.try_on(session, server, template, node)

    @group.command("roll-back")
    def roll_back(server: Server, data: Data) -> None:
        """End a trial, or else return to what was pinned before."""
        with _changing(open_farm(data)) as (farm, session):
            template = farm.releases.roll_back(session, server)
            print(f"{server} runs build {template.build} ({template.id})" if template else f"{server} runs nothing")

    @group.command("remove")
    def remove(template: Template, data: Data) -> None:
        """Remove a template that no server uses or could roll back to."""
        with _changing(open_farm(data)) as (farm, session):
            farm.releases.remove(session, template)

    return group
