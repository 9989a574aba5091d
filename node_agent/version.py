"""Which version of the distribution this agent is from."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def agent_version() -> str:
    try:
        return version("mt5farm")
    except PackageNotFoundError:
        return "unknown"
