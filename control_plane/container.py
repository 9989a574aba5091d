"""Builds the parts of the control plane and joins them; the only file that knows embedded from distributed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from control_plane.access.bridge import BridgeDoor
from control_plane.access.market import Market
from control_plane.access.port import TerminalDoor
from control_plane.access.screens import Screens
from control_plane.access.tickets import TicketIssuer
from control_plane.accounts.connection_tests import ConnectionTests
from control_plane.accounts.service import Accounts
from control_plane.agent_api.intake import Intake
from control_plane.agent_api.service import AgentApi
from control_plane.assignments.service import Assignments
from control_plane.audit.heads import HeadKeeper
from control_plane.audit.service import Audit
from control_plane.audit.signing import HeadSigner
from control_plane.bots.service import Bots
from control_plane.bus.memory import MemoryBus
from control_plane.bus.port import Bus
from control_plane.certificates.service import Authority
from control_plane.clock import Clock, SystemClock
from control_plane.config import Settings
from control_plane.db.engine import Database, sqlite_url
from control_plane.db.migrate import require_ready, upgrade, upgrade_as_owner
from control_plane.errors import ConfigurationError, UnavailableError
from control_plane.fleet.listening import Listening
from control_plane.fleet.mass_loss import MassLoss
from control_plane.fleet.operations import Operations
from control_plane.fleet.service import Fleet
from control_plane.idempotency.service import Repetitions, load_or_create_secret
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
from control_plane.jobs.in_process import InProcessExecutor
from control_plane.jobs.port import Executor
from control_plane.jobs.runner import JobRunner
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.limits.fallback import FallbackBudgets
from control_plane.limits.memory import MemoryBudgets
from control_plane.limits.port import Budgets
from control_plane.limits.service import Limits
from control_plane.limits.tenants import TenantRates
from control_plane.loops import Loop, LoopWatch
from control_plane.notifications.port import Post
from control_plane.notifications.recorded import RecordedPost
from control_plane.notifications.service import Mails
from control_plane.notifications.smtp import SmtpPost, SmtpServer
from control_plane.placement.operations import PlacementOperations
from control_plane.placement.service import Placing
from control_plane.reconcile.connection_tests import FinishedTests
from control_plane.reconcile.drains import Drains
from control_plane.reconcile.node_leases import NodeLeases
from control_plane.reconcile.outdated import AfterRestore
from control_plane.reconcile.placement import Placement
from control_plane.reconcile.quarantine import Quarantine
from control_plane.reconcile.relocation import Relocation
from control_plane.reconcile.retention import Retention
from control_plane.reconcile.unsettled_orders import UnsettledOrders
from control_plane.releases.service import Releases
from control_plane.secrecy import read_secret
from control_plane.service_accounts.service import ServiceAccounts
from control_plane.storage.local import LocalFiles
from control_plane.storage.port import Files
from control_plane.stream.places import StreamPlaces
from control_plane.stream.service import LiveUpdates
from control_plane.telemetry.metrics import Metrics
from control_plane.telemetry.readiness import Readiness
from control_plane.terminals.bundles import Bundles
from control_plane.terminals.holds import Holds
from control_plane.trading.desk import OrderDesk
from control_plane.trading.service import TradeLog
from control_plane.vault import repository as vault_repository
from control_plane.vault.key_file import KeyFile
from control_plane.vault.masters import MasterKeys
from control_plane.vault.rotation import Rotation
from control_plane.vault.sealing import SealBrokenError
from control_plane.vault.service import Vault
from control_plane.vault.transit import TransitKeys
from control_plane.vault.trials import LoginTrials

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
    outbox: Outbox
    job_runner: JobRunner
    vault: Vault
    rotation: Rotation
    authority: Authority
    tickets: TicketIssuer
    door: TerminalDoor
    identity: Identity
    registration: Registration
    password_reset: PasswordReset
    sessions: Sessions
    second_factors: SecondFactors
    passkeys: Passkeys
    notices: Notices
    email_changes: EmailChanges
    invitations: Invitations
    service_accounts: ServiceAccounts
    api_keys: ApiKeys
    repetitions: Repetitions
    mails: Mails
    recorded_post: RecordedPost | None
    """None when mail goes out through a mail server."""
    fleet: Fleet
    accounts: Accounts
    connection_tests: ConnectionTests
    assignments: Assignments
    operations: Operations
    holds: Holds
    placement: PlacementOperations
    mass_loss: MassLoss
    audit: Audit
    head_keeper: HeadKeeper
    audit_key: str
    """Public key under which heads of audit chains are signed."""
    files: Files
    bots: Bots
    releases: Releases
    market: Market
    screens: Screens
    desk: OrderDesk
    live: LiveUpdates
    limits: Limits
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
    signer: HeadSigner
    masters: MasterKeys
    vault: Vault
    authority: Authority
    tickets: TicketIssuer
    requests: bytes
    """By which requests are told apart."""


def build_farm(settings: Settings, *, clock: Clock | None = None, door: TerminalDoor | None = None) -> Farm:
    """Open the data folder, bring the database up to date and join the parts. Nothing runs before `start`.

    Raises ConfigurationError when the folder, the database or the keys cannot be used.
    """
    clock = clock or SystemClock()
    database = open_database(settings)
    keys = _open_keys(settings, database, clock)
    bus = open_bus(settings)
    used_door = door or BridgeDoor(keys.tickets, keys.authority.pem)
    files = open_files(settings)
    head_keeper = HeadKeeper(database, files, keys.signer.public_key)
    audit = Audit(keys.signer, clock)
    fleet = Fleet(audit, bus, clock)
    outbox = Outbox(audit, clock, lambda: jobs.wake())  # noqa: PLW0108 - the loop is made below, since it places terminals
    trials = LoginTrials(settings, clock)
    lease = timedelta(seconds=settings.lease_seconds)
    assignments = Assignments(fleet, keys.vault, outbox, bus, clock, lease)
    people = _build_people(settings, database, keys.vault, outbox, audit, clock)
    operations = Operations(fleet, assignments, audit, clock)
    listening, mass_loss = Listening(clock, max(lease, _LONGEST_PAUSE)), MassLoss(audit, clock, lease)
    leases = NodeLeases(database, fleet, mass_loss, listening, bus, clock, settings)
    relocation = Relocation(database, assignments, mass_loss, audit, listening, settings)
    placement = Placement(database, Placing(fleet, trials, bus, clock))
    handlers = {JobKind.PLACE_TERMINAL: placement.place_terminal, JobKind.SEND_MAIL: people.mails.deliver}
    runner = JobRunner(database, clock, handlers)
    jobs = Loop("jobs", 1.0, _executor(settings, runner, database, clock).work)
    trade_log = TradeLog(bus, clock, timedelta(seconds=settings.equity_seconds))
    bots = Bots(fleet, audit, bus, clock)
    market, bundles = Market(used_door), Bundles(files)
    settlement = UnsettledOrders(database, used_door, trade_log, clock)
    accounts = Accounts(keys.vault, trials, fleet, assignments, outbox, audit, bus, clock)
    connection_tests = ConnectionTests(accounts, trials, clock)
    loops = (
        jobs,
        Loop("placement", 5.0, placement.run_once),
        Loop("node-leases", 5.0, leases.run_once),
        Loop("relocation", 5.0, relocation.run_once),
        Loop("drains", 5.0, Drains(database, assignments, clock).run_once),
        Loop("after-restore", 5.0, AfterRestore(database, fleet).run_once),
        Loop("connection-tests", 1.0, FinishedTests(database, connection_tests).run_once),
        Loop("quarantine", 30.0, Quarantine(database, operations).run_once),
        # It asks many terminals in turn, and those that cannot be reached answer slowly.
        Loop("unsettled-orders", settings.order_settle_seconds, settlement.run_once, patience_seconds=600.0),
        Loop("retention", 600.0, Retention(database, bundles, clock).run_once),
        Loop("audit-heads", 60.0, head_keeper.run_once),
        Loop("idle-sessions", 20.0, used_door.close_idle),
    )
    budgets, tenant_rates = open_budgets(settings), TenantRates(database)
    warnings = {"bus": lambda: bus.problem, "limits": lambda: budgets.problem}
    readiness = Readiness(database, clock, loops, warnings=warnings)
    limits = Limits(budgets, tenant_rates, settings, clock)
    live = LiveUpdates(database, bus, StreamPlaces(settings, tenant_rates), clock)
    with database.write_as_system() as session:
        people.identity.bootstrap(session)
    api_keys = ApiKeys(database, clock)
    return Farm(
        settings=settings,
        clock=clock,
        database=database,
        bus=bus,
        outbox=outbox,
        job_runner=runner,
        vault=keys.vault,
        rotation=Rotation(database, keys.vault, keys.masters, (TOTP_SECRETS,)),
        authority=keys.authority,
        tickets=keys.tickets,
        door=used_door,
        identity=people.identity,
        registration=people.registration,
        password_reset=people.password_reset,
        sessions=people.sessions,
        second_factors=people.second_factors,
        passkeys=people.passkeys,
        notices=people.notices,
        email_changes=people.email_changes,
        invitations=people.invitations,
        service_accounts=ServiceAccounts(api_keys, accounts, audit, clock),
        api_keys=api_keys,
        repetitions=Repetitions(database, keys.requests, clock),
        mails=people.mails,
        recorded_post=people.recorded_post,
        fleet=fleet,
        accounts=accounts,
        connection_tests=connection_tests,
        assignments=assignments,
        operations=operations,
        holds=Holds(fleet, outbox, audit, bus, clock),
        placement=PlacementOperations(outbox, audit, clock),
        mass_loss=mass_loss,
        audit=audit,
        head_keeper=head_keeper,
        audit_key=keys.signer.public_key,
        files=files,
        bots=bots,
        releases=Releases(fleet, settings.data, clock),
        market=market,
        screens=Screens(keys.authority.pem),
        desk=OrderDesk(database, used_door, market, trade_log, audit, clock),
        live=live,
        limits=limits,
        bundles=bundles,
        agent_api=AgentApi(
            settings,
            database,
            fleet,
            Intake(fleet, assignments, trials, audit, bots, trade_log, bus, clock, lease),
            keys.vault,
            keys.authority,
            keys.tickets,
            bundles,
            audit,
            bus,
            clock,
        ),
        loops=loops,
        readiness=readiness,
        metrics=Metrics(database, clock, readiness, limits, live.places),
        loop_watch=Loop("loop-watch", 5.0, LoopWatch(loops).run_once),
    )


@dataclass(frozen=True)
class _People:
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
    recorded_post: RecordedPost | None


def _build_people(
    settings: Settings, database: Database, vault: Vault, outbox: Outbox, audit: Audit, clock: Clock
) -> _People:
    """All by which users prove who they are, and the mail that it takes."""
    recorded = RecordedPost(settings.data / "mail", settings.farm_name, clock) if settings.smtp_host is None else None
    post: Post = recorded or SmtpPost(_smtp_server(settings), settings.farm_name, clock)
    letters = Letters(settings.farm_name, settings.portal_url, clock)
    idle = timedelta(hours=settings.session_idle_hours)
    mails = Mails(database, outbox, post, letters.composers(), clock)
    passwords, sessions, attempts = (
        Passwords(),
        Sessions(database, idle, clock),
        Attempts(clock),
    )
    factors = SecondFactors(vault, settings.farm_name, clock)
    notices = Notices(audit, mails)
    party = relying_party(settings.farm_name, settings.portal_url, settings.passkey_domain, settings.passkey_origins)
    passkeys = Passkeys(database, party, attempts, notices, clock)
    identity = Identity(database, passwords, sessions, factors, passkeys, attempts, notices, audit, clock)
    registration = Registration(database, identity, passwords, sessions, attempts, mails, clock)
    return _People(
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
        recorded_post=recorded,
    )


def _smtp_server(settings: Settings) -> SmtpServer:
    """Raises ConfigurationError when a file cannot be read, or when others may read the password."""
    password, trusted = settings.smtp_password_file, settings.smtp_ca_file
    try:
        ca_pem = None if trusted is None else trusted.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{trusted} cannot be read: {error.strerror}") from error
    return SmtpServer(
        host=settings.smtp_host or "",
        port=settings.smtp_port,
        sender=settings.smtp_sender,
        security=settings.smtp_security,
        user=settings.smtp_user,
        password=None if password is None else read_secret(password).splitlines()[0],
        ca_pem=ca_pem,
    )


def open_database(settings: Settings) -> Database:
    """Raises ConfigurationError when the folder or the database cannot be used."""
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the data folder {settings.data} cannot be used: {error.strerror}") from error
    if settings.database_url is not None and settings.database_owner_url is not None:
        upgrade_as_owner(settings.database_owner_url, settings.database_url, settings.data)
    database = Database(settings.database_url or sqlite_url(settings.data / "farm.sqlite3"))
    if database.is_sqlite:
        upgrade(database, settings.data)
    else:
        require_ready(database)
    return database


def open_bus(settings: Settings) -> Bus:
    if settings.redis_url is None:
        return MemoryBus()
    from control_plane.bus.redis import RedisBus

    return RedisBus(settings.redis_url)


def open_budgets(settings: Settings) -> Budgets:
    if settings.redis_url is None:
        return MemoryBudgets()
    from control_plane.limits.redis import RedisBudgets

    return FallbackBudgets(RedisBudgets(settings.redis_url))


def _executor(settings: Settings, runner: JobRunner, database: Database, clock: Clock) -> Executor:
    if settings.redis_url is None:
        return InProcessExecutor(runner)
    from control_plane.jobs.celery import CeleryExecutor, celery_app

    return CeleryExecutor(celery_app(settings.redis_url), database, clock)


def open_files(settings: Settings) -> Files:
    """Raises ConfigurationError."""
    if settings.files_url is None:
        return LocalFiles(settings.data / "files")
    from control_plane.storage.bucket import BucketFiles

    return BucketFiles.open(settings.files_url, settings.files_endpoint)


def _open_keys(settings: Settings, database: Database, clock: Clock) -> _Keys:
    with database.write_as_system() as session:
        masters = open_master_keys(settings, needed=vault_repository.has_farm_keys(session))
        vault = Vault(masters, clock)
        try:
            authority = Authority.load_or_create(session, vault, clock)
            tickets = TicketIssuer.load_or_create(session, vault, clock)
            signer = HeadSigner.load_or_create(session, vault)
            requests = load_or_create_secret(session, vault)
        except SealBrokenError as error:
            source = settings.kms_url or master_key_path(settings)
            raise ConfigurationError(
                f"{source} is not the master key of this database; restore the right one"
            ) from error
        except UnavailableError as error:
            raise ConfigurationError(error.detail) from error
    return _Keys(signer, masters, vault, authority, tickets, requests)


def open_master_keys(settings: Settings, *, needed: bool) -> MasterKeys:
    """Made when they are not `needed` and not there. Raises ConfigurationError."""
    if settings.kms_url is not None:
        if settings.kms_token_file is None:
            raise ConfigurationError("a key management service needs a token: set MT5FARM_KMS_TOKEN_FILE")
        return TransitKeys(settings.kms_url, settings.kms_key, settings.kms_token_file)
    path = master_key_path(settings)
    try:
        return KeyFile(path)
    except FileNotFoundError as error:
        if needed or settings.master_key_file is not None:
            raise ConfigurationError(
                f"the master key {path} is missing; without it no stored credential can be opened, so restore it"
            ) from error
        return KeyFile.create(path)


def master_key_path(settings: Settings) -> Path:
    """Beside the database, never inside, and in no backup."""
    return settings.master_key_file or settings.data / _MASTER_KEY
