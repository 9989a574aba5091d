"""What the agent asks of a terminal's bridge, as a narrow contract, and how it reaches the local worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mt5_bridge.client import MetaTrader5
from node_agent.layout import TerminalLayout
from node_agent.protocol.messages import DesiredTerminal

PRINCIPAL = "agent"


class Bridge(Protocol):
    """The part of `mt5_bridge.client.MetaTrader5` that the agent uses.

    Calls raise ConnectionError when the worker is gone and BridgeError when it refuses.
    """

    def pulse(self, deals_from: int) -> Mapping[str, Any]: ...
    def configure(self, configuration: Mapping[str, Any]) -> None: ...
    def journal(self, after_sequence: int, limit: int) -> Sequence[Mapping[str, Any]]: ...
    def history_deals_get(self, date_from: int, date_to: int) -> Any: ...
    def history_orders_get(self, date_from: int, date_to: int) -> Any: ...
    def positions_get(self) -> Any: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Target:
    """One terminal as its monitor needs to know it."""

    terminal_id: str
    account_id: str
    epoch: int
    login: int
    server: str
    layout: TerminalLayout

    @classmethod
    def of(cls, desired: DesiredTerminal, layout: TerminalLayout) -> Target:
        return cls(desired.terminal_id, desired.account_id, desired.epoch, desired.login, desired.server, layout)


def connect_worker(target: Target) -> Bridge:
    """A session of the agent's own with a local worker. Raises OSError (BridgeLost) or BridgeError."""
    token = target.layout.token.read_text().strip()
    bridge: Bridge = MetaTrader5(
        f"unix:{target.layout.worker_socket}", token=token, scope="trade", epoch=target.epoch, principal=PRINCIPAL
    )
    return bridge


Connect = Callable[[Target], Bridge]
"""Raises OSError or BridgeError when the worker cannot be reached."""
