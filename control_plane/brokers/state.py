"""What a broker server is, and how the farm came to know of it."""

from __future__ import annotations

from enum import StrEnum


class ServerKind(StrEnum):
    """As the broker says. Whether real money may be behind it is another question: see `service.is_live`."""

    DEMO = "demo"
    LIVE = "live"
    UNKNOWN = "unknown"


class Source(StrEnum):
    OPERATOR = "operator"
    TEMPLATE = "template"
    """An imported terminal brought its name along."""
    IMPORT = "import"
    """From a file of another directory."""
