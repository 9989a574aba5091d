"""The command `mt5farm`."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from control_plane.brokers.service import add_server
from control_plane.config import Settings
from control_plane.container import Farm, build_farm
from control_plane.errors import ConfigurationError
from control_plane.fleet import repository as fleet_repository
from control_plane.logs import configure_logs
from control_plane.releases.cli import template_commands

app = typer.Typer(name="mt5farm", help="The control plane of a farm of MetaTrader 5 terminals.", no_args_is_help=True)
broker_servers = typer.Typer(help="The directory of broker servers.", no_args_is_help=True)
app.add_typer(broker_servers, name="broker-server")

Data = Annotated[Path, typer.Option("--data", help="Folder of everything the control plane keeps.")]


@app.command()
def serve(
    data: Data,
    port: Annotated[int | None, typer.Option(help="Port of the portal and the REST API; 8080 unless said.")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the portal; 127.0.0.1 unless said.")] = None,
    agent_port: Annotated[int | None, typer.Option(help="Port of the agent API (TLS); 8443 unless said.")] = None,
    agent_host: Annotated[str | None, typer.Option(help="Name under which nodes reach the agent API.")] = None,
    sync_seconds: Annotated[float | None, typer.Option(help="How often nodes report; 10 unless said.")] = None,
) -> None:
    """Run the portal, the REST API, the agent API and the background loops."""
    # The web framework takes longer to import than the other commands take to run.
    from control_plane.serving import serve as serve_farm

    configure_logs()
    listen = {"port": port, "host": host, "agent_port": agent_port, "agent_host": agent_host}
    serve_farm(_open(data, **listen, sync_seconds=sync_seconds, remember=True))


@app.command("enroll-token")
def enroll_token(
    data: Data,
    name: Annotated[str, typer.Option(help="Name of the node.")],
    url: Annotated[str | None, typer.Option(help="Address of the agent API, if not the one last served.")] = None,
) -> None:
    """Print a one-time token that lets one node enrol within 15 minutes, as JSON for `mt5farm-agent enroll`."""
    farm = _open(data)
    with farm.database.write() as session:
        token = farm.fleet.issue_token(session, farm.identity.bootstrap(session).id, name)
    farm.stop()
    print(json.dumps({"token": token, "url": url or farm.settings.agent_url, "ca_pem": farm.authority.pem}))


@broker_servers.command("add")
def add_broker_server(
    data: Data,
    name: Annotated[str, typer.Option(help="Name of the trade server, as MT5 shows it.")],
    company: Annotated[str, typer.Option(help="Company that runs it.")],
    simulated_address: Annotated[str | None, typer.Option(help="host:port of a simulated broker.")] = None,
) -> None:
    """Add a broker server to the directory, or correct it."""
    farm = _open(data)
    with farm.database.write() as session:
        add_server(session, farm.clock, name, company, simulated_address)
        # Terminals of this server may have to log in elsewhere, so every node looks again.
        fleet_repository.raise_all_generations(session)
    farm.stop()


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of the REST API."""
    from control_plane.app import openapi_document

    print(json.dumps(openapi_document(), indent=2, sort_keys=True))


def _open(data: Path, *, remember: bool = False, **given: Any) -> Farm:
    """The farm in a data folder. What `serve` was last given is remembered there for the other commands."""
    chosen = {key: value for key, value in given.items() if value is not None}
    memory = data / "served.json"
    settings = Settings(data=data, **chosen) if remember else Settings(data=data, **_remembered(memory), **chosen)
    farm = build_farm(settings)
    if remember:
        _remember(memory, settings)
    return farm


def _remembered(memory: Path) -> dict[str, Any]:
    try:
        found = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}  # nothing is served yet, or the file is damaged: the next `serve` writes it anew
    return found if isinstance(found, dict) else {}


def _remember(memory: Path, settings: Settings) -> None:
    """Whole or not at all: a full disk must not leave a half that nobody can read."""
    draft = memory.with_name(f".{memory.name}.{os.getpid()}")
    draft.write_text(json.dumps({"agent_host": settings.agent_host, "agent_port": settings.agent_port}))
    draft.replace(memory)


def _register_demo() -> None:
    """The demo needs extras that a production control plane may lack, so it is there only when it can be."""
    if importlib.util.find_spec("control_plane.demo") and importlib.util.find_spec("control_plane.demo.command"):
        from control_plane.demo.command import demo, processes

        app.command("demo")(demo)
        app.command("demo-processes")(processes)


app.add_typer(template_commands(_open), name="template")


def main() -> None:
    """Entry point of the console command. Exits with 2 and one sentence when the farm cannot start as configured."""
    _register_demo()
    try:
        app()
    except ConfigurationError as error:
        print(f"mt5farm: {error}", file=sys.stderr)
        sys.exit(2)
    except ValidationError as error:
        first = error.errors()[0]
        print(f"mt5farm: setting {'.'.join(map(str, first['loc']))}: {first['msg']}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
