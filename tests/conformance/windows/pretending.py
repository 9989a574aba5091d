"""Windows' own calls under Wine, and the pretence that those that Wine lacks were made and had their effect.

So a bot's whole way can be walked there: it is not confined by anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node_agent.windows import bot_sandbox
from node_agent.windows.calls import WindowsCalls
from node_agent.windows.port import JobLimits
from tests.conformance.windows.sign_in import take_own_token


class PretendingCalls(WindowsCalls):
    def __init__(self) -> None:
        super().__init__()
        take_own_token()
        vars(bot_sandbox)["_ENTRY"] = "tests.conformance.windows.holding_entry"

    def make_job(self, name: str, limits: JobLimits, member_sid: str | None = None) -> None:
        super().make_job(name, replace(limits, cpu_percent=None), member_sid)

    def filters_network(self) -> bool:
        return True

    def block_network(self, rule: str, group: str) -> None:
        pass

    def ensure_user(self, name: str, password: str, groups: Sequence[str]) -> str:
        return self.own_sid()
