"""The command `mt5farm`."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from control_plane.audit.cli import audit
from control_plane.audit.origin import coming_from
from control_plane.audit.service import Deed
from control_plane.backup.cli import backup, restore_farm
from control_plane.brokers.cli import broker_servers
from control_plane.config import Settings
from control_plane.db.roles import make_database
from control_plane.errors import ConfigurationError, FarmError
from control_plane.fleet.commands import nodes, this_person
from control_plane.identity.cli import users
from control_plane.identity.state import Role
from control_plane.jobs.cli import jobs, work
from control_plane.limits.cli import limits
from control_plane.logs import configure_logs
from control_plane.opening import Data, open_farm
from control_plane.placement.commands import LabelOptions, parse_labels, placements, pools
from control_plane.placement.schemas import SetNode
from control_plane.releases.cli import templates
from control_plane.resources import open_database
from control_plane.secrecy import read_secret
from control_plane.service_secrets import make_service_secrets
from control_plane.settings_page import settings_page
from control_plane.vault.cli import vault

app = typer.Typer(name="mt5farm", help="The control plane of a farm of MetaTrader 5 terminals.", no_args_is_help=True)
app.add_typer(broker_servers, name="broker-server")
app.add_typer(nodes, name="nodes")
app.add_typer(pools, name="pools")
app.add_typer(placements, name="placements")
app.add_typer(users, name="users")
app.add_typer(jobs, name="jobs")
app.command("worker")(work)
app.add_typer(vault, name="vault")
app.add_typer(audit, name="audit")
app.add_typer(limits, name="limits")
app.command("backup")(backup)
app.command("restore")(restore_farm)


@app.command()
def serve(
    data: Data,
    port: Annotated[int | None, typer.Option(help="Port of the portal and the REST API; 8080 unless said.")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the portal; 127.0.0.1 unless said.")] = None,
    agent_port: Annotated[int | None, typer.Option(help="Port of the agent API (TLS); 8443 unless said.")] = None,
    agent_host: Annotated[str | None, typer.Option(help="Name under which nodes reach the agent API.")] = None,
    sync_seconds: Annotated[float | None, typer.Option(help="How often nodes report; 10 unless said.")] = None,
    equity_seconds: Annotated[
        float | None, typer.Option(help="Between points of equity curves; 60 unless said.")
    ] = None,
    show_mail: Annotated[
        bool | None, typer.Option("--show-mail", help="Show recorded mail to everybody on this machine: to try out.")
    ] = None,
) -> None:
    """Run the portal, the REST API, the agent API and the background loops."""
    # The web framework takes longer to import than the other commands take to run.
    from control_plane.serving import serve as serve_farm

    configure_logs()
    listen = {"port": port, "host": host, "agent_port": agent_port, "agent_host": agent_host}
    pace = {"sync_seconds": sync_seconds, "equity_seconds": equity_seconds}
    serve_farm(open_farm(data, **listen, **pace, show_mail=show_mail, remember=True))


@app.command()
def migrate(data: Data) -> None:
    """Bring the database up to date. On Postgres with MT5FARM_DATABASE_OWNER_URL, before the new version is served."""
    open_database(Settings(data=data)).close()


@app.command()
def reconcile(data: Data) -> None:
    """Run the background loops alone, for a farm whose `serve` has MT5FARM_LOOPS=false."""
    from control_plane.serving import reconcile as run_loops

    configure_logs()
    run_loops(open_farm(data))


@app.command("make-secrets")
def make_secrets(
    into: Annotated[Path, typer.Option(help="Folder for files of mode 0600; those that are there are kept.")],
    database_host: Annotated[str, typer.Option(help="Where the services reach Postgres.")],
    redis_host: Annotated[str, typer.Option(help="Where they reach Redis.")],
    mail_host: Annotated[str, typer.Option(help="Where they reach the mail catcher.")],
) -> None:
    """Make the secrets that the services of docker-compose.yml share."""
    make_service_secrets(into, database_host=database_host, redis_host=redis_host, mail_host=mail_host)


@app.command("make-database")
def make_farm_database(
    data: Data,
    administrator_url_file: Annotated[Path, typer.Option(help="File of mode 0600 with a superuser's address.")],
) -> None:
    """On Postgres, make the database and the two roles that the settings name, where they are missing."""
    settings = Settings(data=data)
    if settings.database_url is None or settings.database_owner_url is None:
        raise ConfigurationError("set MT5FARM_DATABASE_URL and MT5FARM_DATABASE_OWNER_URL, or the files that hold them")
    make_database(read_secret(administrator_url_file), settings.database_owner_url, settings.database_url)


@app.command("enroll-token")
def enroll_token(
    data: Data,
    name: Annotated[str, typer.Option(help="Name of the node.")],
    url: Annotated[str | None, typer.Option(help="Address of the agent API, if not the one last served.")] = None,
    pool: Annotated[str | None, typer.Option(help="The pool it will be in.")] = None,
    region: Annotated[str | None, typer.Option(help="Where it stands.")] = None,
    label: LabelOptions = None,
    dedicated_to: Annotated[str | None, typer.Option(help="Id of the only tenant whose terminals it takes.")] = None,
) -> None:
    """Print a one-time token that lets one node enrol within 15 minutes, as JSON for `mt5farm-agent enroll`."""
    farm = open_farm(data)
    with farm.database.write_as_system() as session:
        tenant = farm.identity.bootstrap(session)
        wish = SetNode(
            reason="enrolment", pool=pool, region=region, labels=parse_labels(label), dedicated_tenant_id=dedicated_to
        )
        token = farm.fleet.issue_token(session, tenant.id, name, farm.placement.of_new_node(session, wish))
        farm.audit.record(session, tenant.id, Deed(this_person(), "invite_node", name[:40], ""))
    farm.stop()
    print(json.dumps({"token": token, "url": url or farm.settings.agent_url, "ca_pem": farm.authority.pem}))


@app.command("set-role")
def set_role(
    data: Data,
    email: Annotated[str, typer.Argument(help="Who.")],
    role: Annotated[Role, typer.Argument(help="`owner` and `ops` run the fleet.")],
) -> None:
    """Give a user another role."""
    farm = open_farm(data)
    with farm.database.write_as_system() as session:
        user = farm.identity.set_role(session, email, role)
        deed = Deed(this_person(), "set_role", user.id, role, after={"role": role})
        farm.audit.record(session, user.tenant_id, deed)
    farm.stop()


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the REST API."""
    from control_plane.app import openapi_document

    print(json.dumps(openapi_document(), indent=2, sort_keys=True))


@app.command()
def settings() -> None:
    """Print the page of all settings, as Markdown."""
    print(settings_page(), end="")


def _register_demo() -> None:
    """The demo needs extras that a production control plane may lack, so it is there only when it can be."""
    if importlib.util.find_spec("control_plane.demo") and importlib.util.find_spec("control_plane.demo.command"):
        from control_plane.demo.command import demo, processes

        app.command("demo")(demo)
        app.command("demo-processes")(processes)


app.add_typer(templates, name="template")


def main() -> None:
    """Entry point of the console command. Exits with 2 and one sentence when the farm cannot start as configured."""
    _register_demo()
    configure_logs(sys.stderr)  # what a command prints on stdout is for programs to read
    try:
        with coming_from("command line"):
            app()
    except ConfigurationError as error:
        print(f"mt5farm: {error}", file=sys.stderr)
        sys.exit(2)
    except FarmError as error:
        print(f"mt5farm: {error.detail}", file=sys.stderr)
        sys.exit(1)
    except ValidationError as error:
        first = error.errors()[0]
        print(f"mt5farm: setting {'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
