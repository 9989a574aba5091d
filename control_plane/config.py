"""Settings of one control plane process."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_PORTAL_DIST = Path(__file__).parent / "portal" / "dist"


class Settings(BaseSettings):
    """Read from the command line first, then from `MT5FARM_*` variables. Holds no secret: those live in `data`."""

    model_config = SettingsConfigDict(env_prefix="MT5FARM_", extra="ignore")

    data: Path
    """Folder of everything this control plane keeps; made with mode 0700."""
    database_url: str | None = None
    """None means SQLite in `data`."""
    farm_name: str = "MT5 Farm"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    agent_host: str = "127.0.0.1"
    """Name or address under which nodes reach the agent API; it is in that server's certificate."""
    agent_bind: str | None = None
    """Address the agent API listens on; None means `agent_host`."""
    agent_port: int = Field(default=8443, ge=0, le=65535)
    operations_host: str = "127.0.0.1"
    """Address of /metrics and of /readyz with its reasons; not for the open network, it asks nobody who they are."""
    operations_port: int | None = Field(default=None, ge=0, le=65535)
    """None means that neither is served."""
    secure_cookies: bool = False
    """True when browsers reach the portal over HTTPS."""
    portal_dist: Path = _PORTAL_DIST
    sync_seconds: float = Field(default=10.0, gt=0)
    lease_seconds: float = Field(default=45.0, gt=0)
    lost_after_seconds: float = Field(default=300.0, gt=0)
    """Silence after which a node counts as lost."""
    fence_seconds: float = Field(default=240.0, gt=0)
    """How long a terminal that fences itself may live on after its node's last answered sync. Below `lost_after`."""
    order_settle_seconds: float = Field(default=2.0, gt=0)
    """How often orders with an unknown outcome are looked at again."""

    @property
    def agent_url(self) -> str:
        return f"https://{self.agent_host}:{self.agent_port}"
