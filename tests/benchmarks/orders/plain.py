"""The official module's functions on a simulated terminal, as a server of mt5linux's protocol offers them."""

from __future__ import annotations

from typing import Any

from mt5_bridge.backends.simulated import SimulatedBackend


class PlainModule:
    """Connected to the terminal at this IPC address; nothing is written down, nothing is checked."""

    def __init__(self, ipc: str) -> None:
        self._backend = SimulatedBackend(ipc)
        if not self._backend.call("initialize", (), {}):
            raise ConnectionError(f"the terminal does not answer: {self._backend.last_error()}")

    def order_send(self, request: dict[str, Any]) -> Any:
        return self._backend.call("order_send", (request,), {})

    def symbol_info_tick(self, symbol: str) -> Any:
        return self._backend.call("symbol_info_tick", (symbol,), {})
