"""The process that keeps one sandboxed bot on Windows: `python -m node_agent.windows.bot_keeper --config FILE`.

It runs as the agent's user and outlives the agent. The bot's job has no handle but the keeper's, so the bot ends with
it in whatever way it ends.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from mt5_bridge.sandbox.keeping import Keeper, keep
from node_agent.windows.bot_sandbox import WindowsSandbox
from node_agent.windows.port import Windows


def keeper_of(config: dict[str, Any], windows: Windows) -> Keeper:
    """Raises ConfigError."""
    return Keeper(
        config, lambda room, tell: WindowsSandbox(room, tell, windows), lambda: why_not(config.get("own_users") is True)
    )


def why_not(own_users: bool) -> str | None:
    """Why code of users cannot run on this node, whatever Windows would let it do, or None."""
    if own_users:
        return None
    return (
        "Custom code runs as a Windows user of its own, and this node makes no users; its operator can enrol it with"
        " real terminals and own_users, or the bot can run on another node."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes are those of `keep`."""
    from node_agent.windows.calls import WindowsCalls

    windows = WindowsCalls()
    return keep(lambda config: keeper_of(config, windows), arguments)


if __name__ == "__main__":
    sys.exit(main())
