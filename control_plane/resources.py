"""What the settings choose: database, bus, jobs, files, budgets, mail and keys; the only file that knows embedded from
distributed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from control_plane.access.tickets import TicketIssuer
from control_plane.alerts.outbound import Outbound, networks
from control_plane.alerts.telegram import Telegram, TelegramBot
from control_plane.audit.signing import HeadSigner
from control_plane.bus.memory import MemoryBus
from control_plane.bus.port import Bus
from control_plane.certificates.service import Authority
from control_plane.clock import Clock
from control_plane.config import Settings
from control_plane.db.engine import Database, sqlite_url
from control_plane.db.migrate import require_ready, upgrade, upgrade_as_owner
from control_plane.errors import ConfigurationError, UnavailableError
from control_plane.idempotency.service import load_or_create_secret
from control_plane.jobs.in_process import InProcessExecutor
from control_plane.jobs.port import Executor
from control_plane.jobs.runner import JobRunner
from control_plane.jobs.state import TO_STRANGERS, JobKind
from control_plane.limits.fallback import FallbackBudgets
from control_plane.limits.memory import MemoryBudgets
from control_plane.limits.port import Budgets
from control_plane.notifications.smtp import SmtpServer
from control_plane.secrecy import read_secret
from control_plane.storage.local import LocalFiles
from control_plane.storage.port import Files
from control_plane.vault import repository as vault_repository
from control_plane.vault.key_file import KeyFile
from control_plane.vault.masters import MasterKeys
from control_plane.vault.sealing import SealBrokenError
from control_plane.vault.service import Vault
from control_plane.vault.transit import TransitKeys

_MASTER_KEY = "keys/master.key"


@dataclass(frozen=True)
class Keys:
    """The farm's own keys, and what is done with them."""

    signer: HeadSigner
    masters: MasterKeys
    vault: Vault
    authority: Authority
    tickets: TicketIssuer
    requests: bytes
    """By which requests are told apart."""


def smtp_server(settings: Settings) -> SmtpServer:
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


def open_executors(
    settings: Settings, runner: JobRunner, database: Database, clock: Clock
) -> tuple[Executor, Executor | None]:
    """For all jobs; in one process another one for those that wait for strangers, and the first for the rest."""
    if settings.redis_url is None:
        return InProcessExecutor(runner, frozenset(JobKind) - TO_STRANGERS), InProcessExecutor(runner, TO_STRANGERS)
    from control_plane.jobs.celery import CeleryExecutor, celery_app

    return CeleryExecutor(celery_app(settings.redis_url), database, clock), None


def open_files(settings: Settings) -> Files:
    """Raises ConfigurationError."""
    if settings.files_url is None:
        return LocalFiles(settings.data / "files")
    from control_plane.storage.bucket import BucketFiles

    return BucketFiles.open(settings.files_url, settings.files_endpoint)


def open_keys(settings: Settings, database: Database, clock: Clock) -> Keys:
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
    return Keys(signer, masters, vault, authority, tickets, requests)


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


def open_outbound(settings: Settings) -> Outbound:
    """Raises ConfigurationError."""
    try:
        return Outbound(networks(settings.webhook_networks))
    except ValueError as error:
        raise ConfigurationError("webhook_networks takes networks like 10.0.0.0/8, with commas between them") from error


def open_telegram(settings: Settings) -> Telegram | None:
    """Raises ConfigurationError."""
    if settings.telegram_token_file is None:
        return None
    try:
        return TelegramBot(read_secret(settings.telegram_token_file), settings.telegram_url)
    except ValueError:
        raise ConfigurationError("telegram_token_file does not hold the token of a Telegram bot") from None
