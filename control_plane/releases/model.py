"""Tables of terminal templates and of where they are used. They belong to the operator, not to a tenant."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.db.base import Base
from control_plane.db.types import UtcDateTime


class TerminalTemplate(Base):
    """An installed portable folder that an operator has imported; its bytes are in the data folder."""

    __tablename__ = "terminal_templates"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    broker: Mapped[str] = mapped_column(String(100))
    build: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes of the archive."""
    servers: Mapped[list[str]] = mapped_column(JSON)
    """The broker's trade servers, as the operator named them."""
    imported_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TemplatePin(Base):
    """What all terminals of a broker server run."""

    __tablename__ = "template_pins"

    server: Mapped[str] = mapped_column(ForeignKey("broker_servers.name"), primary_key=True)
    template_id: Mapped[str] = mapped_column(ForeignKey("terminal_templates.id"))
    previous_id: Mapped[str | None] = mapped_column(ForeignKey("terminal_templates.id"))
    """What they ran before, for rolling back."""
    pinned_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TemplateTrial(Base):
    """What the terminals of a broker server run on one node only."""

    __tablename__ = "template_trials"

    server: Mapped[str] = mapped_column(ForeignKey("broker_servers.name"), primary_key=True)
    node_id: Mapped[str] = mapped_column(ForeignKey("nodes.id"))
    template_id: Mapped[str] = mapped_column(ForeignKey("terminal_templates.id"))
    since: Mapped[datetime] = mapped_column(UtcDateTime)
