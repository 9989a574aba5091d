"""The agent of a node that takes bots of users as on Windows, where Windows is a double or pretends (`pretending`).

`python -m ... run` is the agent; `python -m ... --config FILE` is a keeper that it starts. All else is real.
"""

from __future__ import annotations

import sys

from mt5_bridge.sandbox.keeping import keep
from node_agent import agent, cli
from node_agent.windows.bot_keeper import keeper_of
from node_agent.windows.bot_quarters import WindowsQuarters
from node_agent.windows.port import Windows


class Quarters(WindowsQuarters):
    @property
    def keeper(self) -> str:
        return "tests.conformance.windows.agent_with_rooms"


def _windows() -> Windows:
    if sys.platform == "win32":
        from tests.conformance.windows.pretending import PretendingCalls

        return PretendingCalls()
    from tests.windows_double import FakeWindows

    return FakeWindows()


def main() -> None:
    if "--config" in sys.argv:
        sys.exit(keep(lambda config: keeper_of(config, _windows()), sys.argv[1:]))
    vars(agent)["installed_quarters"] = lambda settings: Quarters(_windows(), own_users=True)
    cli.main()


if __name__ == "__main__":
    main()
