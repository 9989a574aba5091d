"""`mt5farm-agent`: enrol this machine as a node, run its agent, look at and stop what the agent started."""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from node_agent.agent import Agent, AgentSettings
from node_agent.clock import system_clock
from node_agent.config import Timing, WindowsProcessSettings, WineContainerSettings, load_config
from node_agent.database import Database
from node_agent.enrolment import EnrolmentOptions, enrol_node, read_enrolment
from node_agent.errors import AgentError, AlreadyRunningError, ConfigurationError
from node_agent.identity import load_keys
from node_agent.layout import DataLayout
from node_agent.logs import configure_logs
from node_agent.process import is_alive
from node_agent.shutdown import stop_everything
from node_agent.state import StateStore
from node_agent.version import agent_version
from node_agent.worker import Modules

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
EXIT_USAGE = 2

Data = Annotated[Path, typer.Option("--data", help="Folder of this node; it holds its keys, so keep it private.")]


@app.command()
def enroll(
    data: Data,
    enrolment: Annotated[Path, typer.Option(help="JSON with token, url and ca_pem, from the control plane.")],
    name: Annotated[str, typer.Option(help="Name of the node, as the operator sees it.")],
    gateway_listen: Annotated[str, typer.Option(help="host:port on which the gateway listens.")],
    slots: Annotated[int, typer.Option(min=1, help="How many terminals this node may host.")],
    gateway_address: Annotated[
        str | None, typer.Option(help="host:port under which clients reach the gateway, if not where it listens.")
    ] = None,
    wine_container: Annotated[
        str | None, typer.Option(help='Run real terminals in containers: JSON such as {"image": "..."}.')
    ] = None,
    windows_process: Annotated[
        str | None, typer.Option(help="On Windows, run real terminals: JSON of settings that differ from the defaults.")
    ] = None,
    timing: Annotated[str | None, typer.Option(help="JSON object of durations that differ from the defaults.")] = None,
) -> None:
    """Make this machine a node of the farm."""
    options = EnrolmentOptions(
        name,
        gateway_listen,
        gateway_address or gateway_listen,
        slots,
        _parse_timing(timing),
        _parse_wine_container(wine_container),
        _parse_windows_process(windows_process),
    )
    layout = DataLayout.open(data)
    with layout.acquire_lock():
        config = asyncio.run(enrol_node(layout, read_enrolment(enrolment), options))
    print(json.dumps({"node_id": config.node_id, "name": config.name}))


@app.command()
def run(
    context: typer.Context,
    data: Data,
    operations_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of /metrics; the node's setting unless said.")
    ] = None,
    operations_host: Annotated[str | None, typer.Option(help="Its address; 127.0.0.1 unless said.")] = None,
) -> None:
    """Run the agent until it is asked to end. The terminals keep running without it."""
    configure_logs(sys.stdout)
    layout = DataLayout.open(data)
    with layout.acquire_lock():
        layout.open_run_folder()
        said = {"operations_port": operations_port, "operations_host": operations_host}
        changes = {name: value for name, value in said.items() if value is not None}
        settings = AgentSettings(
            config=load_config(layout.config).model_copy(update=changes),
            layout=layout,
            keys=load_keys(layout.identity),
            ca_pem=_read_ca(layout),
            modules=context.ensure_object(Modules),
        )
        _collect_rarely()
        asyncio.run(_run_agent(settings))


@app.command()
def processes(
    data: Data,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on one line.")] = False,
) -> None:
    """List the processes that the agent has started."""
    layout = _existing(data)
    database = Database(layout.database)
    handles = StateStore(database).handles()
    database.close()
    rows = [
        {"role": handle.slot.role.value, "id": handle.slot.id, "pid": handle.pid, "alive": is_alive(handle)}
        for handle in sorted(handles, key=lambda handle: (handle.slot.role, handle.slot.id))
    ]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['role']:<9} {row['id'] or '-':<30} {row['pid']:>8} {'alive' if row['alive'] else 'dead'}")


@app.command()
def down(data: Data) -> None:
    """Stop every process that the agent started. The agent itself must not be running."""
    configure_logs(sys.stderr)
    layout = _existing(data)
    try:
        lock = layout.acquire_lock()
    except AlreadyRunningError as error:
        raise AlreadyRunningError("the agent is running and would start everything again; stop it first") from error
    timing = load_config(layout.config).timing if layout.config.exists() else Timing()
    with lock:
        stopped = stop_everything(layout, timing.stop_grace, system_clock)
    print(json.dumps({"stopped": stopped}))


def _collect_rarely() -> None:
    """Python looks for cycles after every 700 new objects, and a second of a hundred terminals makes more than that."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _run_agent(settings: AgentSettings) -> None:
    await Agent(settings).run()


def _existing(data: Path) -> DataLayout:
    layout = DataLayout(data.resolve())
    if not layout.database.exists():
        raise ConfigurationError(f"{data} holds no agent that was ever run")
    return layout


def _read_ca(layout: DataLayout) -> str:
    try:
        return layout.ca.read_text()
    except OSError as error:
        raise ConfigurationError(f"{layout.ca} cannot be read; enrol the node again") from error


def _parse_timing(text: str | None) -> Timing:
    try:
        return Timing() if text is None else Timing.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError("--timing is not a JSON object of known durations") from error


def _parse_wine_container(text: str | None) -> WineContainerSettings | None:
    try:
        return None if text is None else WineContainerSettings.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError("--wine-container is not a JSON object of known settings with an image") from error


def _parse_windows_process(text: str | None) -> WindowsProcessSettings | None:
    if text is not None and sys.platform != "win32":
        raise ConfigurationError("--windows-process is for nodes that run Windows")
    try:
        return None if text is None else WindowsProcessSettings.model_validate_json(text)
    except ValidationError as error:
        raise ConfigurationError("--windows-process is not a JSON object of known settings") from error


def _explained(command: Callable[..., object], modules: Modules) -> int:
    try:
        command(obj=modules)
    except (AgentError, ssl.SSLError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    return 0


def main(modules: Modules | None = None) -> None:
    """`modules` names the programs that the agent starts, if not the product's own."""
    sys.exit(_explained(app, modules or Modules()))


@app.callback()
def _about() -> None:
    """The node agent of MT5 Farm."""


@app.command()
def version() -> None:
    """Print the version."""
    print(agent_version())


if __name__ == "__main__":
    main()
