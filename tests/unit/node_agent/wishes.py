"""A terminal that should run, for tests that look at what the agent makes of the wish."""

from __future__ import annotations

from typing import Any

from node_agent.protocol.messages import DesiredTerminal, Guard

ID = "ter_0000000000000001"


def wish(**changes: Any) -> DesiredTerminal:
    values: dict[str, Any] = {
        "terminal_id": ID,
        "account_id": "acc_0000000000000001",
        "tenant_id": "ten_0000000000000001",
        "epoch": 1,
        "running": True,
        "runtime": "simulated",
        "login": 7,
        "server": "Demo",
        "credentials": "box",
        "credentials_version": 1,
        "guard": Guard(),
    }
    return DesiredTerminal(**(values | changes))
