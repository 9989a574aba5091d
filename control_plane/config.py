"""Settings of one control plane process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from control_plane.errors import ConfigurationError
from control_plane.secrecy import check_address, read_secret

_PORTAL_DIST = Path(__file__).parent / "portal" / "dist"


class Settings(BaseSettings):
    """Read from the command line first, then from `MT5FARM_*` variables. Holds no secret: those live in `data`."""

    model_config = SettingsConfigDict(env_prefix="MT5FARM_", extra="ignore", use_attribute_docstrings=True)

    data: Path
    """Folder of everything this control plane keeps; made with mode 0700."""
    database_url: str | None = Field(default=None, repr=False)
    """Address of a Postgres database, `postgresql://user@host/name`; SQLite in `data` when there is none."""
    database_url_file: Path | None = None
    """File of mode 0600 that holds that address, for one with a password."""
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
    order_settle_seconds: float = Field(default=2.0, gt=0)
    """How often orders with an unknown outcome are looked at again."""

    @model_validator(mode="after")
    def _read_secrets(self) -> Self:
        """Raises ConfigurationError."""
        if self.database_url_file is not None:
            if self.database_url is not None:
                raise ConfigurationError("the database's address is given twice, by itself and by a file; give one")
            self.database_url = read_secret(self.database_url_file)
        if self.database_url is not None:
            check_address(self.database_url, "the database")
        return self

    @property
    def agent_url(self) -> str:
        return f"https://{self.agent_host}:{self.agent_port}"
