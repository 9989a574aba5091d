"""Builds the parts of the control plane and joins them; the only file that knows embedded from distributed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from control_plane.access.bridge import BridgeDoor
from control_plane.access.market import Market
from control_plane.access.port import TerminalDoor
from control_plane.access.tickets import TicketIssuer
from control_plane.accounts.service import Accounts
from control_plane.agent_api.intake import Intake
from control_plane.agent_api.service import AgentApi
from control_plane.assignments.service import Assignments
from control_plane.audit.service import Audit
from control_plane.bots.service import Bots
from control_plane.bus.memory import MemoryBus
from control_plane.bus.port import Bus
from control_plane.certificates.service import Authority
from control_plane.clock import Clock, SystemClock
from control_plane.config import Settings
from control_plane.db.engine import Database, sqlite_url
from control_plane.db.migrate import upgrade
from control_plane.errors import ConfigurationError
from control_plane.fleet.listening import Listening
from control_plane.fleet.mass_loss import MassLoss
from control_plane.fleet.operations import Operations
from control_plane.fleet.service import Fleet
from control_plane.identity.service import Identity
from control_plane.jobs.service import Outbox, run_next
from control_plane.jobs.state import JobKind
from control_plane.loops import Loop, LoopWatch
from control_plane.reconcile.drains import Drains
from control_plane.reconcile.node_leases import NodeLeases
from control_plane.reconcile.placement import Placement
from control_plane.reconcile.quarantine import Quarantine
from control_plane.reconcile.relocation import Relocation
from control_plane.reconcile.retention import Retention
from control_plane.reconcile.unsettled_orders import UnsettledOrders
from control_plane.releases.service import Releases
from control_plane.stream.service import LiveUpdates
from control_plane.telemetry.metrics import Metrics
from control_plane.telemetry.readiness import Readiness
from control_plane.terminals.bundles import Bundles
from control_plane.trading.desk import OrderDesk
from control_plane.trading.service import TradeLog
from control_plane.vault import repository as vault_repository
from control_plane.vault.master import create_master_key, load_master_key
from control_plane.vault.sealing import SealBrokenError
from control_plane.vault.service import Vault

_MASTER_KEY = "keys/master.key"
_LOOP_STOP_SECONDS = 1.0
_LONGEST_PAUSE = timedelta(seconds=15)
"""Three rounds of the loops that judge silence; a longer one means that nobody listened."""


@dataclass(frozen=True)
class Farm:
    """Everything the routes and commands use."""

    settings: Settings
    clock: Clock
    database: Database
    bus: Bus
    vault: Vault
    authority: Authority
    tickets: TicketIssuer
    door: TerminalDoor
    identity: Identity
    fleet: Fleet
    accounts: Accounts
    assignments: Assignments
    operations: Operations
    mass_loss: MassLoss
    audit: Audit
    bots: Bots
    releases: Releases
    market: Market
    desk: OrderDesk
    live: LiveUpdates
    bundles: Bundles
    agent_api: AgentApi
    loops: tuple[Loop, ...]
    readiness: Readiness
    metrics: Metrics
    loop_watch: Loop

    def start(self) -> None:
        """Start the background loops."""
        for loop in (*self.loops, self.loop_watch):
            loop.start()

    def stop(self) -> None:
        """Stop the loops and close what is open. What they were doing goes on at the next start."""
        self.bus.close()
        for loop in (self.loop_watch, *self.loops):
            loop.stop(_LOOP_STOP_SECONDS)
        self.door.close()
        self.database.close()


@dataclass(frozen=True)
class _Keys:
    vault: Vault
    authority: Authority
    tickets: TicketIssuer


def build_farm(settings: Settings, *, clock: Clock | None = None, door: TerminalDoor | None = None) -> Farm:
    """Open the data folder, bring the database up to date and join the parts. Nothing runs before `start`.

    Raises ConfigurationError when the folder, the database or the keys cannot be used.
    """
    clock = clock or SystemClock()
    database = open_database(settings)
    keys = _open_keys(settings, database, clock)
    bus = MemoryBus()
    used_door = door or BridgeDoor(keys.tickets, keys.authority.pem)
    identity = Identity(database, clock)
    audit = Audit(clock)
    fleet = Fleet(audit, bus, clock)
    outbox = Outbox(clock, lambda: jobs.wake())  # noqa: PLW0108 - the loop is made below, since it places terminals
    assignments = Assignments(fleet, keys.vault, outbox, bus, clock)
    operations = Operations(fleet, assignments, audit, clock)
    lease = timedelta(seconds=settings.lease_seconds)
    listening, mass_loss = Listening(clock, max(lease, _LONGEST_PAUSE)), MassLoss(audit, clock, lease)
    leases = NodeLeases(database, fleet, mass_loss, listening, bus, clock, settings)
    relocation = Relocation(database, assignments, mass_loss, audit, listening, settings)
    placement = Placement(database, assignments)
    jobs = Loop("jobs", 1.0, lambda: _run_jobs(database, clock, placement))
    trade_log = TradeLog(bus, clock)
    bots = Bots(fleet, bus, clock)
    market, bundles = Market(used_door), Bundles(settings.data / "bundles")
    settlement = UnsettledOrders(database, used_door, trade_log, clock)
    loops = (
        jobs,
        Loop("placement", 5.0, placement.run_once),
        Loop("node-leases", 5.0, leases.run_once),
        Loop("relocation", 5.0, relocation.run_once),
        Loop("drains", 5.0, Drains(database, assignments, clock).run_once),
        Loop("quarantine", 30.0, Quarantine(database, operations).run_once),
        # It asks many terminals in turn, and those that cannot be reached answer slowly.
        Loop("unsettled-orders", settings.order_settle_seconds, settlement.run_once, patience_seconds=600.0),
        Loop("retention", 600.0, Retention(database, bundles, clock).run_once),
        Loop("idle-sessions", 20.0, used_door.close_idle),
    )
    readiness = Readiness(database, clock, loops)
    with database.write() as session:
        identity.bootstrap(session)
    return Farm(
        settings=settings,
        clock=clock,
        database=database,
        bus=bus,
        vault=keys.vault,
        authority=keys.authority,
        tickets=keys.tickets,
        door=used_door,
        identity=identity,
        fleet=fleet,
        accounts=Accounts(keys.vault, fleet, assignments, outbox, bus, clock),
        assignments=assignments,
        operations=operations,
        mass_loss=mass_loss,
        audit=audit,
        bots=bots,
        releases=Releases(fleet, settings.data, clock),
        market=market,
        desk=OrderDesk(database, used_door, market, trade_log, clock),
        live=LiveUpdates(database, bus, clock),
        bundles=bundles,
        agent_api=AgentApi(
            settings,
            database,
            fleet,
            Intake(fleet, assignments, bots, trade_log, bus, clock),
            keys.vault,
            keys.authority,
            keys.tickets,
            bundles,
            bus,
            clock,
        ),
        loops=loops,
        readiness=readiness,
        metrics=Metrics(database, clock, readiness),
        loop_watch=Loop("loop-watch", 5.0, LoopWatch(loops).run_once),
    )


def open_database(settings: Settings) -> Database:
    """Raises ConfigurationError when the folder or the database cannot be used."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the data folder {settings.data} cannot be used: {error.strerror}") from error
    database = Database(settings.database_url or sqlite_url(settings.data / "farm.sqlite3"))
    upgrade(database, settings.data)
    return database


def master_key_path(settings: Settings) -> Path:
    """Beside the database, never inside, and in no backup."""
    return settings.data / _MASTER_KEY


def _open_keys(settings: Settings, database: Database, clock: Clock) -> _Keys:
    path = master_key_path(settings)
    with database.write() as session:
        vault = Vault(_master_key(path, vault_repository.has_farm_keys(session)), clock)
        try:
            authority = Authority.load_or_create(session, vault, clock)
            tickets = TicketIssuer.load_or_create(session, vault, clock)
        except SealBrokenError as error:
            raise ConfigurationError(f"{path} is not the master key of this database; restore the right one") from error
    return _Keys(vault, authority, tickets)


def _master_key(path: Path, needed: bool) -> bytes:
    try:
        return load_master_key(path)
    except FileNotFoundError as error:
        if needed:
            raise ConfigurationError(
                f"the master key {path} is missing; without it no stored credential can be opened, so restore it"
            ) from error
        return create_master_key(path)


def _run_jobs(database: Database, clock: Clock, placement: Placement) -> None:
    handlers = {JobKind.PLACE_TERMINAL: placement.place_terminal}
    while run_next(database, clock, handlers):
        pass
