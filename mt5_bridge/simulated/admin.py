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
        """server, market, symbols, market_time_msc (broker clock), speed, paused, ended, accounts, sessions by login.

        The speed of a market that runs as fast as possible is infinity.
        """
        return dict(codec.decode(self._ask("status")))

    def pause(self) -> int:
        """Let market time stand still; returns it (ms). Orders are still executed, at the last quotes."""
        return int(self._ask("pause"))

    def resume(self) -> int:
        """Let a paused market go on; returns its time (ms)."""
        return int(self._ask("resume"))

    def set_speed(self, speed: float) -> int:
        """Market seconds in a second, `math.inf` for as fast as possible; returns the market time (ms)."""
        return int(self._ask("speed", float(speed)))

    def step(self, *, ticks: int = 0, seconds: float = 0.0) -> int:
        """Move a paused market by ticks (at most 100,000) or market time (at most a week); returns its time (ms).

        Ticks count over all symbols; those of the same millisecond are one. RemoteError if it is not paused.
        """
        return int(self._ask("step", ticks, round(seconds * 1000)))

    def _ask(self, verb: str, *arguments: Any) -> Any:
        frames = Frames(connect(self._address, self._timeout))
        try:
            frames.send((1, "admin", (self._token,)))
            opened(frames.receive())
            frames.send((2, verb, arguments))
            return opened(frames.receive())
        finally:
            frames.close()
