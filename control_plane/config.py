"""Settings of one control plane process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from control_plane.notifications.smtp import SmtpSecurity

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTAL_DIST = Path(__file__).parent / "portal" / "dist"


class Settings(BaseSettings):
    """Read from the command line first, then from `MT5FARM_*` variables.

    Holds no secret but the addresses of a Postgres database: the others live in `data`.
    """

    model_config = SettingsConfigDict(env_prefix="MT5FARM_", extra="ignore")

    data: Path
    """Folder of everything this control plane keeps; made with mode 0700."""
    database_url: str | None = None
    """None means SQLite in `data`. On Postgres, the application's role, which owns no table."""
    database_owner_url: SecretStr | None = None
    """On Postgres, the role that owns the tables, for migrations. A process without it needs a migrated database."""
    farm_name: str = "MT5 Farm"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    agent_host: str = "127.0.0.1"
    """Name or address under which nodes reach the agent API; it is in that server's certificate."""
    agent_bind: str | None = None
    """Address the agent API listens on; None means `agent_host`."""
    agent_port: int = Field(default=8443, ge=0, le=65535)
    secure_cookies: bool = False
    """True when browsers reach the portal over HTTPS."""
    trusted_proxies: str | None = None
    """Addresses, with commas between them, whose `X-Forwarded-For` is believed: a proxy before the portal. Without it,
    all who come through a proxy count as one address, and their failed sign-ins together."""
    public_url: str | None = None
    """Under which browsers reach the portal, for links in mails; None means `http://host:port`."""
    show_mail: bool = False
    """Recorded mail is shown to everybody on this machine, so that a farm can be tried out without a mail server."""
    smtp_host: str | None = None
    """None means that mail is recorded in `data` and not sent."""
    smtp_port: int = Field(default=587, ge=1, le=65535)
    smtp_security: SmtpSecurity = SmtpSecurity.STARTTLS
    smtp_sender: str = "mt5farm@localhost"
    smtp_user: str | None = None
    smtp_password_file: Path | None = None
    """Its first line is the password of `smtp_user`."""
    smtp_ca_file: Path | None = None
    """PEM certificates to trust instead of the machine's."""
    portal_dist: Path = _PORTAL_DIST
    sync_seconds: float = Field(default=10.0, gt=0)
    lease_seconds: float = Field(default=45.0, gt=0)
    lost_after_seconds: float = Field(default=300.0, gt=0)
    """Silence after which a node counts as lost."""
    fence_seconds: float = Field(default=240.0, gt=0)
    """How long a terminal that fences itself may live on after its node's last answered sync. Below `lost_after`."""
    refused_logins_of_server: int = Field(default=10, ge=1)
    """How many wrong passwords the farm shows one broker server within an hour before it holds back untried ones."""
    refused_logins_of_account: int = Field(default=3, ge=1)
    """How many wrong passwords for one account are taken within an hour."""
    master_key_file: Path | None = None
    """File of the master keys, for one that is mounted from elsewhere; None means `keys/master.key` in `data`."""
    kms_url: str | None = None
    """Address of a key management service with a transit interface, which holds the master key then."""
    kms_key: str = "mt5farm"
    kms_token_file: Path | None = None
    """File with the token for that service; read at every question, so that it may be renewed."""
    redis_url: str | None = None
    """Redis for jobs and live updates of a farm in several processes; None means that this process does both."""
    files_url: str | None = None
    """`s3://BUCKET/PREFIX` for files that several machines share; None means a folder in `data`."""
    files_endpoint: str | None = None
    """Address of an S3 server other than Amazon's."""
    order_settle_seconds: float = Field(default=2.0, gt=0)
    """How often orders with an unknown outcome are looked at again."""

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
