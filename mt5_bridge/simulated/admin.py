"""The operator's side of the simulated broker."""

from __future__ import annotations

from typing import Any

from mt5_bridge import codec
from mt5_bridge.simulated.link import Frames, connect, opened
from mt5_bridge.structs import Struct


class BrokerAdmin:
    """Opens accounts and reads the books. Each call is a connection of its own, so broker restarts do not matter.

    Methods raise OSError (LinkError among them) when the broker cannot be reached, RemoteError when it refuses.
    """

    def __init__(self, address: str, token: str, timeout: float = 10.0) -> None:
        self._address = address
        self._token = token
        self._timeout = timeout

    def create_account(
        self,
        login: int | None = None,
        *,
        password: str,
        balance: float = 10000.0,
        currency: str = "USD",
        leverage: int = 100,
        name: str = "",
    ) -> int:
        """Open an account with a deposit and return its login; the next free one when None.

        A login that exists keeps its book, and only its password is set: a repeated call changes nothing else.
        """
        answer = self._ask("create_account", login or 0, password, float(balance), currency, leverage, name)
        return int(answer)

    def deals(self, login: int) -> tuple[Struct, ...]:
        """All deals of the account (TradeDeal), the oldest first."""
        return tuple(codec.decode(self._ask("deals", login)))

    def orders(self, login: int) -> tuple[Struct, ...]:
        """All orders of the account (TradeOrder): finished ones by time done, then the active ones."""
        return tuple(codec.decode(self._ask("orders", login)))

    def status(self) -> dict[str, Any]:
        """server, market, symbols, market_time_msc (broker clock), speed, ended, accounts, sessions by login."""
        return dict(codec.decode(self._ask("status")))

    def _ask(self, verb: str, *arguments: Any) -> Any:
        frames = Frames(connect(self._address, self._timeout))
        try:
            frames.send((1, "admin", (self._token,)))
            opened(frames.receive())
            frames.send((2, verb, arguments))
            return opened(frames.receive())
        finally:
            frames.close()
