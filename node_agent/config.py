"""Settings of one agent, kept in `DATA/agent.json` since enrolment, and its timing."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node_agent.errors import ConfigurationError
from node_agent.files import write_atomically
from node_agent.journals import JournalPolicy
from node_agent.pressure import Reserves
from node_agent.recycling import RecyclePolicy
from node_agent.restarts import RestartPolicy


class Timing(BaseModel):
    """Every duration of the agent in seconds. The defaults are the product's; tests shorten them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tick: float = 0.5
    """How often processes are looked at while anything is on its way."""
    quiet_tick: float = 1.0
    """The same while every terminal and bot is at rest. Where a system tells of dead processes, it does so at once."""
    probe: float = 1.0
    """How often a terminal is asked and its deals are collected."""
    probe_late: float = 10.0
    """An unanswered probe of this age makes the terminal degraded."""
    probe_wedged: float = 45.0
    """An unanswered probe of this age costs the worker; longer than the bridge's own 30 s watchdog."""
    launch_grace: float = 60.0
    """How long a started terminal may take until its IPC answers."""
    connect_grace: float = 10.0
    """How long logging in may take before the broker is called unreachable."""
    quote_fresh: float = 60.0
    """A terminal whose newest quote has not moved for so long is not ready."""
    retry_refused: float = 5.0
    """Before refused credentials are tried once more."""
    stop_grace: float = 5.0
    """Between TERM and KILL."""
    sync_floor: float = 0.25
    """Least time between two syncs."""
    events: float = 0.5
    """How often the spool is delivered."""
    bundles: float = 5.0
    """How often collected logs are delivered."""
    retry_unknown_node: float = 30.0
    """Between syncs while the control plane says that it does not know this node."""
    terminal_restart: RestartPolicy = RestartPolicy(settled=30.0, base=5.0, cap=300.0, window=900.0, limit=5)
    worker_restart: RestartPolicy = RestartPolicy(settled=30.0, base=1.0, cap=60.0, window=900.0, limit=5)
    bot_restart: RestartPolicy = RestartPolicy(settled=30.0, base=1.0, cap=60.0, window=900.0, limit=5)
    gateway_restart: RestartPolicy = RestartPolicy(settled=30.0, base=1.0, cap=30.0, window=900.0, limit=5)


class WindowsProcessSettings(BaseModel):
    """How real terminals run on this Windows node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    own_users: bool = True
    """A local user for each terminal. Off for a node that serves one person or may not make users."""
    memory_mb: int = Field(default=2048, ge=256)
    """What a terminal and what it starts may commit."""
    cpu_percent: float | None = Field(default=50.0, gt=0, le=100)
    """Of the whole machine, for each terminal. None: no bound."""
    processes: int = Field(default=16, ge=2)


class Bounds(BaseModel):
    """How much of the machine the agent lets terminals have, and when it takes some back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    starts: int = Field(default=8, ge=1)
    """Terminals that may be starting at a time."""
    reserves: Reserves = Reserves()
    recycle: RecyclePolicy = RecyclePolicy()
    journals: JournalPolicy = JournalPolicy()


class WineContainerSettings(BaseModel):
    """How real terminals run in containers on this node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str
    """What `python -m provisioning.wine.image` has built."""
    memory_mb: int = Field(default=1536, ge=256)
    """Of a terminal with its bridge worker. What needs more is ended; nothing is swapped."""
    cpus: float = Field(default=1.0, gt=0)
    pids: int = Field(default=512, ge=128)
    """Processes and threads."""
    subnets: IPv4Network = IPv4Network("10.213.0.0/16")
    """Where each terminal's own network is taken from, eight addresses each."""
    outgoing: bool = True
    """False: the networks lead nowhere. For tests."""
    outgoing_addresses: tuple[IPv4Address, ...] = ()
    """Addresses of this machine that terminals appear under, given in turn. Empty: the machine's usual one."""
    screen: bool = False
    """Let people with a ticket look at the terminals' screens. A change counts for terminals started after it."""
    stop_grace: float = 15.0
    """Seconds that a terminal has for saving its state when it is asked to end."""


class AgentConfig(BaseModel):
    """What enrolment settled, without secrets."""

    model_config = ConfigDict(frozen=True)

    node_id: str
    name: str
    control_plane_url: str
    gateway_listen: str
    """`host:port` on which the gateway listens."""
    gateway_address: str
    """`host:port` under which clients reach it."""
    slots: int = Field(ge=1)
    sync_seconds: float = 10.0
    operations_host: str = "127.0.0.1"
    """Address of the node's /metrics; not for the open network, it asks nobody who they are."""
    operations_port: int | None = Field(default=None, ge=0, le=65535)
    """None: the node serves none."""
    timing: Timing = Timing()
    bounds: Bounds = Bounds()
    wine_container: WineContainerSettings | None = None
    """None: this node runs no real terminals in containers."""
    windows_process: WindowsProcessSettings | None = None
    """None: this node runs no real terminals as Windows processes."""


def load_config(path: Path) -> AgentConfig:
    """Raises ConfigurationError when the folder was never enrolled or the file is broken."""
    try:
        return AgentConfig.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path.parent} holds no enrolled node; run `mt5farm-agent enroll` first") from error
    except (OSError, ValidationError) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}; restore it or enrol again") from error


def save_config(path: Path, config: AgentConfig) -> None:
    write_atomically(path, config.model_dump_json(indent=2).encode())
