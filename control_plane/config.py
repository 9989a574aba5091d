"""Settings of one control plane process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from control_plane.entitlements.plans import Plan
from control_plane.errors import ConfigurationError
from control_plane.limits.rate import PATTERN as RATE
from control_plane.notifications.smtp import SmtpSecurity
from control_plane.secrecy import check_address, read_secret

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTAL_DIST = Path(__file__).parent / "portal" / "dist"


class Settings(BaseSettings):
    """Read from the command line first, then from `MT5FARM_*` variables.

    Holds no secret but the addresses of services, which are never shown: the others live in `data`.
    """

    model_config = SettingsConfigDict(env_prefix="MT5FARM_", extra="ignore", use_attribute_docstrings=True)

    data: Path
    """Folder of everything this control plane keeps; made with mode 0700."""
    database_url: str | None = Field(default=None, repr=False)
    """Address of a Postgres database, `postgresql://user@host/name`, for a role that owns no table; SQLite in `data`
    when there is none."""
    database_url_file: Path | None = None
    """File of mode 0600 that holds that address, for one with a password."""
    database_owner_url: str | None = Field(default=None, repr=False)
    """The same for the role that owns the tables, to migrate and to restore. Without it the farm needs a migrated
    database."""
    database_owner_url_file: Path | None = None
    """File of mode 0600 that holds that address."""
    farm_name: str = "MT5 Farm"
    """What the portal calls this farm."""
    host: str = "127.0.0.1"
    """Address that the portal and the REST API listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port of the portal and the REST API."""
    agent_host: str = "127.0.0.1"
    """Name or address under which nodes reach the agent API; it is in that server's certificate."""
    agent_bind: str | None = None
    """Address the agent API listens on; None means `agent_host`."""
    agent_port: int = Field(default=8443, ge=0, le=65535)
    """Port of the agent API (TLS)."""
    loops: bool = True
    """False where `mt5farm reconcile` runs the background loops in a process of its own."""
    operations_host: str = "127.0.0.1"
    """Address of /metrics and of /readyz with its reasons; not for the open network, it asks nobody who they are."""
    operations_port: int | None = Field(default=None, ge=0, le=65535)
    """None means that neither is served."""
    secure_cookies: bool = False
    """True when browsers reach the portal over HTTPS."""
    trusted_proxies: str | None = None
    """Addresses, with commas between them, whose `X-Forwarded-For` is believed: a proxy before the portal. Without it,
    all who come through a proxy count as one address, and their failed sign-ins together."""
    public_url: str | None = None
    """Under which browsers reach the portal, for links in mails; None means `http://host:port`."""
    session_idle_hours: float = Field(default=72.0, ge=0.25)
    """A browser that has not been used for so long is signed out. An open page of the portal counts as use. After two
    weeks a session ends in any case."""
    passkey_domain: str | None = None
    """Host that passkeys are made for: the portal's or a parent of it. None means the host of `public_url`. Passkeys of
    another domain are of no use any more."""
    passkey_origins: str | None = None
    """Addresses of the portal, with commas between them, where passkeys may be used; None means `public_url`."""
    sign_up_plan: Plan | None = None
    """Plan of new traders; without one nothing is limited. Those who are there keep theirs."""
    show_mail: bool = False
    """Recorded mail is shown to everybody on this machine, so that a farm can be tried out without a mail server."""
    smtp_host: str | None = None
    """None means that mail is recorded in `data` and not sent."""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    """Port of the mail server."""
    smtp_security: SmtpSecurity = SmtpSecurity.STARTTLS
    """How mail is encrypted; `none` is for a mail server on this machine."""
    smtp_sender: str = "mt5farm@localhost"
    """Address that mails come from."""
    smtp_user: str | None = None
    """Name at the mail server, if it asks for one."""
    smtp_password_file: Path | None = None
    """File of mode 0600 whose first line is the password of `smtp_user`."""
    smtp_ca_file: Path | None = None
    """PEM certificates to trust instead of the machine's."""
    portal_dist: Path = _PORTAL_DIST
    """Folder of the built portal."""
    sync_seconds: float = Field(default=10.0, gt=0)
    """How often nodes report."""
    lease_seconds: float = Field(default=45.0, gt=0)
    """Silence after which a node counts as silent."""
    lost_after_seconds: float = Field(default=300.0, gt=0)
    """Silence after which a node counts as lost."""
    fence_seconds: float = Field(default=240.0, gt=0)
    """How long a terminal that fences itself may live on after its node's last answered sync. Below `lost_after`."""
    refused_logins_of_server: int = Field(default=10, ge=1)
    """How many wrong passwords the farm shows one broker server within an hour before it holds back untried ones."""
    refused_logins_of_account: int = Field(default=3, ge=1)
    """How many wrong passwords for one account are taken within an hour."""
    requests_of_key: str = Field(default="1800/60", pattern=RATE)
    """How many requests one key for programs may make: requests / seconds."""
    requests_of_user: str = Field(default="3000/60", pattern=RATE)
    """The same for one user, in all browsers and with all keys together."""
    requests_of_tenant: str = Field(default="60000/60", pattern=RATE)
    """The same for all users of one tenant together. `mt5farm limits` gives one tenant other limits than these."""
    requests_to_exit: str = Field(default="600/60", pattern=RATE)
    """A budget of its own, for each user and each key, for closing positions, stopping bots and terminals, and ending
    sessions and keys: no other request can use it up."""
    requests_of_address: str = Field(default="300/60", pattern=RATE)
    """How many requests one network address may make without proving, or with a wrong proof of, who asks."""
    requests_of_node: str = Field(default="1800/60", pattern=RATE)
    """How many requests one node may make; one that works needs less than a tenth of it."""
    streams_of_user: int = Field(default=20, ge=1)
    """How many streams of live updates one user may have open with one process."""
    streams_of_tenant: int = Field(default=2000, ge=1)
    """The same for all users of one tenant together."""
    master_key_file: Path | None = None
    """File of the master keys, for one that is mounted from elsewhere; None means `keys/master.key` in `data`."""
    kms_url: str | None = None
    """Address of a key management service with a transit interface, which holds the master key then."""
    kms_key: str = "mt5farm"
    """Name of the master key in that service."""
    kms_token_file: Path | None = None
    """File with the token for that service; read at every question, so that it may be renewed."""
    redis_url: str | None = Field(default=None, repr=False)
    """Redis for jobs and live updates of a farm in several processes; None means that this process does both."""
    redis_url_file: Path | None = None
    """File of mode 0600 that holds its address, for one with a password."""
    files_url: str | None = None
    """`s3://BUCKET/PREFIX` for files that several machines share; None means a folder in `data`."""
    files_endpoint: str | None = None
    """Address of an S3 server other than Amazon's."""
    webhook_networks: str | None = None
    """Private networks, with commas between them, that webhooks of users may lead to, also without TLS, where
    they run their receivers in the same network. Without it webhooks reach public addresses alone."""
    telegram_token_file: Path | None = None
    """File of mode 0600 whose first line is the token of the farm's Telegram bot; None means that there is none."""
    telegram_url: str = "https://api.telegram.org"
    """Address of Telegram's HTTP API."""
    copy_seconds: float = Field(default=1.0, gt=0)
    """How often accounts that are followed are looked at when nothing tells of a change before."""
    order_settle_seconds: float = Field(default=2.0, gt=0)
    """How often orders with an unknown outcome are looked at again."""

    equity_seconds: float = Field(default=60.0, ge=1)
    """How far apart the points of equity curves are, while an account changes."""
    equity_five_minutes_after_days: float = Field(default=7.0, gt=0)
    """Older points of equity curves are thinned to one in five minutes."""
    equity_hours_after_days: float = Field(default=30.0, gt=0)
    """Still older ones to one an hour."""
    equity_days_after_days: float = Field(default=365.0, gt=0)
    """The oldest ones to one a day."""
    reconcile_hours: float = Field(default=6.0, gt=0)
    """How often the trade log of an account is compared with its broker's book, besides when its terminal comes."""

    @model_validator(mode="after")
    def _read_secrets(self) -> Self:
        """Raises ConfigurationError."""
        self.database_url = _address(self.database_url, self.database_url_file, "the database")
        self.database_owner_url = _address(
            self.database_owner_url, self.database_owner_url_file, "the owner of the database"
        )
        self.redis_url = _address(self.redis_url, self.redis_url_file, "Redis")
        return self

    @property
    def agent_url(self) -> str:
        return f"https://{self.agent_host}:{self.agent_port}"

    @property
    def portal_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @model_validator(mode="after")
    def _mail_is_safe(self) -> Self:
        if self.show_mail and (self.host not in _LOOPBACK or self.smtp_host is not None):
            raise ValueError("show_mail is for trying the farm out on 127.0.0.1 without a mail server")
        if (self.smtp_user is None) != (self.smtp_password_file is None):
            raise ValueError("smtp_user and smtp_password_file belong together")
        if self.smtp_security is SmtpSecurity.NONE:
            if self.smtp_user is not None:
                raise ValueError("smtp_security 'none' would send the mail server's password in the clear")
            if self.smtp_host is not None and self.smtp_host not in _LOOPBACK:
                raise ValueError("smtp_security 'none' is for a mail server on this machine")
        return self


def _address(given: str | None, file: Path | None, of_what: str) -> str | None:
    """Raises ConfigurationError."""
    if file is not None:
        if given is not None:
            raise ConfigurationError(f"the address of {of_what} is given twice, by itself and by a file; give one")
        given = read_secret(file)
    if given is not None:
        check_address(given, of_what)
    return given
