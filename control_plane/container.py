"""Builds the parts of the control plane and joins them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from control_plane.access.bridge import BridgeDoor
from control_plane.access.market import Market
from control_plane.access.port import TerminalDoor
from control_plane.access.screens import Screens
from control_plane.access.tickets import TicketIssuer
from control_plane.accounts.connection_tests import ConnectionTests
from control_plane.accounts.service import Accounts
from control_plane.agent_api.batches import Batches
from control_plane.agent_api.intake import Intake
from control_plane.agent_api.service import AgentApi
from control_plane.alerts.letters import AlertLetters
from control_plane.alerts.service import Alerts
from control_plane.alerts.webhooks import WEBHOOK_SECRETS, Webhooks
from control_plane.assignments.service import Assignments
from control_plane.audit.heads import HeadKeeper
from control_plane.audit.service import Audit
from control_plane.backtests.jobs import BacktestJobs
from control_plane.backtests.service import Backtests
from control_plane.bots.service import Bots
from control_plane.bus.port import Bus
from control_plane.certificates.service import Authority
from control_plane.clock import Clock, SystemClock
from control_plane.config import Settings
from control_plane.copying.service import Copying
from control_plane.db.engine import Database
from control_plane.entitlements.change import PlanChanges
from control_plane.fleet.listening import Listening
from control_plane.fleet.mass_loss import MassLoss
from control_plane.fleet.operations import Operations
from control_plane.fleet.service import Fleet
from control_plane.idempotency.service import Repetitions
from control_plane.identity.api_keys import ApiKeys
from control_plane.identity.attempts import Attempts
from control_plane.identity.email_change import EmailChanges
from control_plane.identity.letters import Letters
from control_plane.identity.notices import Notices
from control_plane.identity.passkeys import Passkeys
from control_plane.identity.passwords import Passwords
from control_plane.identity.registration import Registration
from control_plane.identity.relying_party import relying_party
from control_plane.identity.reset import PasswordReset
from control_plane.identity.second_factor import TOTP_SECRETS, SecondFactors
from control_plane.identity.service import Identity
from control_plane.identity.sessions import Sessions
from control_plane.invitations.service import Invitations
from control_plane.jobs.runner import JobRunner
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.limits.service import Limits
from control_plane.limits.tenants import TenantRates
from control_plane.loops import Loop, LoopWatch
from control_plane.notifications.port import Post
from control_plane.notifications.recorded import RecordedPost
from control_plane.notifications.service import Mails
from control_plane.notifications.smtp import SmtpPost
from control_plane.placement.operations import PlacementOperations
from control_plane.placement.service import Placing
from control_plane.reconcile.alerts import AlertWatch
from control_plane.reconcile.connection_tests import FinishedTests
from control_plane.reconcile.copying import CopyLoop
from control_plane.reconcile.drains import Drains
from control_plane.reconcile.equity_thinning import EquityThinning
from control_plane.reconcile.node_leases import NodeLeases
from control_plane.reconcile.outdated import AfterRestore
from control_plane.reconcile.placement import Placement
from control_plane.reconcile.quarantine import Quarantine
from control_plane.reconcile.relocation import Relocation
from control_plane.reconcile.retention import Retention
from control_plane.reconcile.trade_logs import TradeLogs
from control_plane.reconcile.unsettled_orders import UnsettledOrders
from control_plane.releases.service import Releases
from control_plane.resources import (
    open_budgets,
    open_bus,
    open_database,
    open_executors,
    open_files,
    open_keys,
    open_outbound,
    open_telegram,
    smtp_server,
)
from control_plane.risk.kill_switches import KillSwitches
from control_plane.risk.service import Risk
from control_plane.service_accounts.service import ServiceAccounts
from control_plane.storage.port import Files
from control_plane.strategies.service import Strategies
from control_plane.stream.places import StreamPlaces
from control_plane.stream.service import LiveUpdates
from control_plane.telemetry.metrics import Metrics
from control_plane.telemetry.readiness import Readiness
from control_plane.terminals.bundles import Bundles
from control_plane.terminals.holds import Holds
from control_plane.trading.desk import OrderDesk
from control_plane.trading.service import TradeLog
from control_plane.vault.rotation import Rotation
from control_plane.vault.service import Vault
from control_plane.vault.trials import LoginTrials

_LOOP_STOP_SECONDS = 1.0
_LONGEST_PAUSE = timedelta(seconds=15)
"""Three rounds of the loops that judge silence; a longer one means that nobody listened."""


@dataclass(frozen=True)
class Ground:
    """What everything else stands on."""

    settings: Settings
    clock: Clock
    database: Database
    bus: Bus
    door: TerminalDoor
    files: Files
    bundles: Bundles
    market: Market
    audit: Audit
    head_keeper: HeadKeeper
    audit_key: str
    """Public key under which heads of audit chains are signed."""
    vault: Vault
    rotation: Rotation
    authority: Authority
    tickets: TicketIssuer
    repetitions: Repetitions


@dataclass(frozen=True)
class People:
    """All by which users prove who they are, and the mail that it takes."""

    identity: Identity
    registration: Registration
    password_reset: PasswordReset
    sessions: Sessions
    second_factors: SecondFactors
    passkeys: Passkeys
    notices: Notices
    email_changes: EmailChanges
    invitations: Invitations
    mails: Mails
    webhooks: Webhooks
    alerts: Alerts
    recorded_post: RecordedPost | None
    """None when mail goes out through a mail server."""


@dataclass(frozen=True)
class Terminals:
    """Accounts, the nodes that hold their terminals, and what is traded there."""

    outbox: Outbox
    fleet: Fleet
    trials: LoginTrials
    assignments: Assignments
    placing: Placing
    placement: PlacementOperations
    accounts: Accounts
    connection_tests: ConnectionTests
    api_keys: ApiKeys
    service_accounts: ServiceAccounts
    operations: Operations
    holds: Holds
    mass_loss: MassLoss
    bots: Bots
    backtests: Backtests
    backtest_jobs: BacktestJobs
    strategies: Strategies
    releases: Releases
    screens: Screens
    trade_log: TradeLog
    desk: OrderDesk
    risk: Risk
    kill_switches: KillSwitches
    copying: Copying
    plan_changes: PlanChanges


@dataclass(frozen=True)
class Service:
    """How the farm is asked, and how it tells of itself."""

    job_runner: JobRunner
    agent_api: AgentApi
    reports: Batches
    live: LiveUpdates
    limits: Limits
    loops: tuple[Loop, ...]
    readiness: Readiness
    metrics: Metrics
    loop_watch: Loop


@dataclass(frozen=True)
class Farm(Service, Terminals, People, Ground):
    """Everything the routes and commands use."""

    def start(self) -> None:
        """Start the background loops."""
        for loop in (*self.loops, self.loop_watch):
            loop.start()

    def stop(self) -> None:
        """Stop the loops and close what is open. What they were doing goes on at the next start."""
        self.bus.close()
        self.reports.close()
        for loop in (self.loop_watch, *self.loops):
            loop.stop(_LOOP_STOP_SECONDS)
        self.door.close()
        self.database.close()


def build_farm(settings: Settings, *, clock: Clock | None = None, door: TerminalDoor | None = None) -> Farm:
    """Open the data folder, bring the database up to date and join the parts. Nothing runs before `start`.

    Raises ConfigurationError when the folder, the database or the keys cannot be used.
    """
    ground = _lay_ground(settings, clock or SystemClock(), door)

    def wake_jobs() -> None:
        for loop in job_loops:  # which are made below
            loop.wake()

    outbox = Outbox(ground.audit, ground.clock, wake_jobs)
    people = _gather_people(ground, outbox)
    terminals = _gather_terminals(ground, outbox, people.alerts, lambda: copy.wake())  # noqa: PLW0108 - as above
    placement = Placement(ground.database, terminals.placing)
    handlers = {
        JobKind.PLACE_TERMINAL: placement.place_terminal,
        JobKind.SEND_MAIL: people.mails.deliver,
        JobKind.SPREAD_KILL_SWITCH: terminals.kill_switches.spread,
        JobKind.DELIVER_ALERT: people.alerts.deliver,
        JobKind.RUN_BACKTEST: terminals.backtest_jobs.begin,
    }
    runner = JobRunner(ground.database, ground.clock, handlers)
    executor, to_strangers = open_executors(settings, runner, ground.database, ground.clock)
    job_loops = [Loop("jobs", 1.0, executor.work)]
    if to_strangers is not None:
        # Before the other, which sends the mails that it puts.
        job_loops.insert(0, Loop("deliveries", 1.0, to_strangers.work, patience_seconds=600.0))
    copying = CopyLoop(ground.database, ground.door, terminals.desk, terminals.copying, ground.clock)
    copy = Loop("copying", settings.copy_seconds, copying.run_once, patience_seconds=600.0)
    loops = (*job_loops, copy, Loop("placement", 5.0, placement.run_once), *_fleet_loops(ground, terminals))
    service = _open_service(ground, terminals, runner, (*loops, *_caretakers(ground, terminals, people.alerts)))
    with ground.database.write_as_system() as session:
        people.identity.bootstrap(session)
    return Farm(**vars(ground), **vars(people), **vars(terminals), **vars(service))


def _lay_ground(settings: Settings, clock: Clock, door: TerminalDoor | None) -> Ground:
    database = open_database(settings)
    keys = open_keys(settings, database, clock)
    used_door, files = door or BridgeDoor(keys.tickets, keys.authority.pem), open_files(settings)
    return Ground(
        settings=settings,
        clock=clock,
        database=database,
        bus=open_bus(settings),
        door=used_door,
        files=files,
        bundles=Bundles(files),
        market=Market(used_door),
        audit=Audit(keys.signer, clock),
        head_keeper=HeadKeeper(database, files, keys.signer.public_key),
        audit_key=keys.signer.public_key,
        vault=keys.vault,
        rotation=Rotation(database, keys.vault, keys.masters, (TOTP_SECRETS, WEBHOOK_SECRETS)),
        authority=keys.authority,
        tickets=keys.tickets,
        repetitions=Repetitions(database, keys.requests, clock),
    )


def _gather_terminals(ground: Ground, outbox: Outbox, alerts: Alerts, wake_copying: Callable[[], None]) -> Terminals:
    settings, database, audit, bus, clock = ground.settings, ground.database, ground.audit, ground.bus, ground.clock
    lease = _lease(settings)
    fleet = Fleet(audit, bus, clock)
    trials = LoginTrials(settings, clock)
    assignments = Assignments(fleet, ground.vault, outbox, bus, clock, lease)
    accounts = Accounts(ground.vault, trials, fleet, assignments, outbox, audit, bus, clock)
    api_keys = ApiKeys(database, clock)
    trade_log = TradeLog(
        bus, clock, timedelta(seconds=settings.equity_seconds), on_order=alerts.order_changed, on_deal=wake_copying
    )
    holds = Holds(fleet, outbox, audit, bus, clock)
    risk = Risk(fleet, holds, audit, bus, clock)
    bots, copying = Bots(fleet, audit, bus, clock), Copying(alerts, audit, clock)
    return Terminals(
        outbox=outbox,
        fleet=fleet,
        trials=trials,
        assignments=assignments,
        placing=Placing(fleet, trials, bus, clock),
        placement=PlacementOperations(outbox, audit, clock),
        accounts=accounts,
        connection_tests=ConnectionTests(accounts, trials, clock),
        api_keys=api_keys,
        service_accounts=ServiceAccounts(api_keys, accounts, audit, clock),
        operations=Operations(fleet, assignments, audit, clock),
        holds=holds,
        mass_loss=MassLoss(audit, clock, lease),
        bots=bots,
        backtests=Backtests(outbox, audit, clock),
        backtest_jobs=BacktestJobs(database, ground.door, outbox, clock),
        strategies=Strategies(ground.files, audit, clock),
        releases=Releases(fleet, settings.data, clock),
        screens=Screens(ground.authority.pem),
        trade_log=trade_log,
        copying=copying,
        plan_changes=PlanChanges(bots, copying, risk, accounts, audit),
        desk=OrderDesk(database, ground.door, ground.market, trade_log, audit, clock),
        risk=risk,
        kill_switches=KillSwitches(database, risk, fleet, outbox, audit, clock),
    )


def _fleet_loops(ground: Ground, terminals: Terminals) -> tuple[Loop, ...]:
    """What watches the nodes, and moves terminals from those that are lost or leave."""
    settings, database, clock = ground.settings, ground.database, ground.clock
    fleet, assignments, mass_loss = terminals.fleet, terminals.assignments, terminals.mass_loss
    listening = Listening(clock, max(_lease(settings), _LONGEST_PAUSE))
    leases = NodeLeases(database, fleet, mass_loss, listening, ground.bus, clock, settings)
    relocation = Relocation(database, assignments, mass_loss, ground.audit, listening, settings)
    return (
        Loop("node-leases", 5.0, leases.run_once),
        Loop("relocation", 5.0, relocation.run_once),
        Loop("drains", 5.0, Drains(database, assignments, clock).run_once),
        Loop("after-restore", 5.0, AfterRestore(database, fleet).run_once),
        Loop("kill-switches", 1.0, terminals.kill_switches.follow),
        Loop("quarantine", 30.0, Quarantine(database, terminals.operations).run_once),
    )


def _caretakers(ground: Ground, terminals: Terminals, alerts: Alerts) -> tuple[Loop, ...]:
    """What ends, settles and clears away."""
    settings, database, clock = ground.settings, ground.database, ground.clock
    settlement = UnsettledOrders(database, ground.door, terminals.trade_log, clock)
    every = timedelta(hours=settings.reconcile_hours)
    trade_logs = TradeLogs(database, ground.door, terminals.trade_log, clock, every)
    watch = AlertWatch(database, alerts, ground.door, clock)
    return (
        # It reads all accounts there are.
        Loop("alerts", 5.0, watch.run_once, patience_seconds=600.0, most_share=0.05),
        Loop("connection-tests", 1.0, FinishedTests(database, terminals.connection_tests).run_once),
        # It asks many terminals in turn, and those that cannot be reached answer slowly.
        Loop("unsettled-orders", settings.order_settle_seconds, settlement.run_once, patience_seconds=600.0),
        # It asks many terminals as well.
        Loop("trade-logs", 5.0, trade_logs.run_once, patience_seconds=600.0),
        Loop("equity-thinning", 60.0, EquityThinning(database, clock, settings).run_once),
        Loop("backtests", 15.0, terminals.backtest_jobs.run_once),
        Loop("retention", 600.0, Retention(database, ground.bundles, clock).run_once),
        Loop("audit-heads", 60.0, ground.head_keeper.run_once),
        Loop("idle-sessions", 20.0, ground.door.close_idle),
        *([Loop("checkpoint", 1.0, database.checkpoint)] if database.is_sqlite else []),
    )


def _open_service(ground: Ground, terminals: Terminals, runner: JobRunner, loops: tuple[Loop, ...]) -> Service:
    settings, database, bus, clock = ground.settings, ground.database, ground.bus, ground.clock
    budgets, tenant_rates = open_budgets(settings), TenantRates(database)
    warnings = {"bus": lambda: bus.problem, "limits": lambda: budgets.problem}
    readiness = Readiness(database, clock, loops, warnings=warnings)
    limits = Limits(budgets, tenant_rates, settings, clock)
    agent_api = _agent_api(ground, terminals)
    live = LiveUpdates(database, bus, StreamPlaces(settings, tenant_rates), clock)
    return Service(
        job_runner=runner,
        agent_api=agent_api,
        reports=Batches(agent_api.sync_all),
        live=live,
        limits=limits,
        loops=loops,
        readiness=readiness,
        metrics=Metrics(database, clock, readiness, limits, live.places),
        loop_watch=Loop("loop-watch", 5.0, LoopWatch(loops).run_once),
    )


def _agent_api(ground: Ground, terminals: Terminals) -> AgentApi:
    intake = Intake(
        terminals.fleet,
        terminals.assignments,
        terminals.trials,
        ground.audit,
        terminals.bots,
        terminals.trade_log,
        terminals.risk,
        ground.bus,
        ground.clock,
        _lease(ground.settings),
    )
    return AgentApi(
        ground.settings,
        ground.database,
        terminals.fleet,
        intake,
        ground.vault,
        ground.authority,
        ground.tickets,
        ground.bundles,
        ground.audit,
        ground.bus,
        ground.clock,
    )


def _lease(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.lease_seconds)


def _gather_people(ground: Ground, outbox: Outbox) -> People:
    settings, database, audit, clock = ground.settings, ground.database, ground.audit, ground.clock
    recorded = RecordedPost(settings.data / "mail", settings.farm_name, clock) if settings.smtp_host is None else None
    post: Post = recorded or SmtpPost(smtp_server(settings), settings.farm_name, clock)
    letters = Letters(settings.farm_name, settings.portal_url, clock)
    idle = timedelta(hours=settings.session_idle_hours)
    alert_letters = AlertLetters(settings.farm_name, settings.portal_url)
    mails = Mails(database, outbox, post, {**letters.composers(), **alert_letters.composers()}, clock)
    outbound = open_outbound(settings)
    webhooks = Webhooks(ground.vault, outbound, audit, clock)
    alerts = Alerts(database, outbox, mails, webhooks, outbound, open_telegram(settings), ground.bus, clock)
    passwords, sessions, attempts = (
        Passwords(),
        Sessions(database, idle, clock, alerts.signed_in),
        Attempts(clock),
    )
    factors = SecondFactors(ground.vault, settings.farm_name, clock)
    notices = Notices(audit, mails)
    party = relying_party(settings.farm_name, settings.portal_url, settings.passkey_domain, settings.passkey_origins)
    passkeys = Passkeys(database, party, attempts, notices, clock)
    identity = Identity(database, passwords, sessions, factors, passkeys, attempts, notices, audit, clock)
    registration = Registration(database, identity, passwords, sessions, attempts, mails, clock, settings.sign_up_plan)
    return People(
        identity=identity,
        registration=registration,
        password_reset=PasswordReset(database, identity, passwords, sessions, factors, attempts, mails, notices, clock),
        sessions=sessions,
        second_factors=factors,
        passkeys=passkeys,
        notices=notices,
        email_changes=EmailChanges(database, passwords, attempts, mails, notices, audit, clock),
        invitations=Invitations(database, registration, passwords, sessions, attempts, mails, audit, clock),
        mails=mails,
        webhooks=webhooks,
        alerts=alerts,
        recorded_post=recorded,
    )
