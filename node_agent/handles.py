"""Handles as plain data: what the agent's database, the fence file and an agent of another version can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from node_agent.process import Handle, Role, Slot

VERSION: Final = 1


def handle_to_data(handle: Handle) -> dict[str, Any]:
    """JSON-ready. `v` rises only when a reader of the present one would misread it; new facts do not raise it."""
    return {
        "v": VERSION,
        "kind": handle.kind,
        "role": handle.slot.role.value,
        "owner": handle.slot.owner,
        "bot_id": handle.slot.bot_id,
        "pid": handle.pid,
        "birth": handle.birth,
        "started_at": handle.started_at,
        "fingerprint": handle.fingerprint,
        "facts": dict(handle.facts),
    }


def handle_from_data(data: Mapping[str, Any]) -> Handle:
    """Also from later versions, which keep these keys. Raises KeyError, ValueError for what is no handle."""
    return Handle(
        slot=Slot(Role(data["role"]), str(data["owner"]), str(data["bot_id"])),
        pid=int(data["pid"]),
        birth=str(data["birth"]),
        started_at=float(data["started_at"]),
        fingerprint=str(data["fingerprint"]),
        kind=str(data["kind"]),
        facts={str(name): str(value) for name, value in data.get("facts", {}).items()},
    )
