"""The official module's functions on a simulated terminal, as a server of mt5linux's protocol offers them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from mt5_bridge import structs
from mt5_bridge.backends.simulated import SimulatedBackend

# Classes of this module, since those of the official package can be pickled and the simulated ones cannot.
_record: Any = namedtuple
Tick = _record("Tick", structs.Tick.field_names)
TradeRequest = _record("TradeRequest", structs.TradeRequest.field_names)
OrderSendResult = _record("OrderSendResult", structs.OrderSendResult.field_names)


class PlainModule:
    """Connected to the terminal at this IPC address; nothing is written down, nothing is checked."""

    def __init__(self, ipc: str) -> None:
        self._backend = SimulatedBackend(ipc)
        if not self._backend.call("initialize", (), {}):
            raise ConnectionError(f"the terminal does not answer: {self._backend.last_error()}")

    def order_send(self, request: dict[str, Any]) -> Any:
        result = self._backend.call("order_send", (request,), {})
        return None if result is None else OrderSendResult(*result[:-1], TradeRequest(*result[-1]))

    def symbol_info_tick(self, symbol: str) -> Any:
        tick = self._backend.call("symbol_info_tick", (symbol,), {})
        return None if tick is None else Tick(*tick)


def main() -> None:
    """RPyC's classic mode, as mt5linux serves it; says its port."""
    import rpyc
    from rpyc.utils.server import ThreadedServer

    server = ThreadedServer(rpyc.SlaveService, hostname="127.0.0.1", port=0)
    server._listen()
    print(server.port, flush=True)
    server.start()


if __name__ == "__main__":
    main()
