"""The operator's side of the simulated broker."""

from __future__ import annotations

from typing import Any

from mt5_bridge import codec
from mt5_bridge.simulated.engine.model import Reason
from mt5_bridge.simulated.link import Frames, connect, opened
from mt5_bridge.structs import Struct

_FRONT_ENDS = {"terminal": Reason.CLIENT, "mobile": Reason.MOBILE, "web": Reason.WEB}


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

    def configure_account(self, login: int, **changes: Any) -> None:
        """Change settings of an account: fields of AccountInfo that are settings, and limit_positions,
        hedge_prohibited, one_time_password. RemoteError -2 for anything else.
        """
        self._ask("configure_account", login, codec.encode(changes))

    def set_investor_password(self, login: int, password: str) -> None:
        """Set the password that opens an account for looking and not for trading."""
        self._ask("investor_password", login, password)

    def book_money(self, login: int, amount: float, comment: str = "Deposit", *, credit: bool = False) -> int:
        """Pay into an account (negative: out of it) as balance or credit; returns the deal's ticket."""
        return int(self._ask("book_money", login, float(amount), comment, 3 if credit else 2))

    def trade(self, login: int, front_end: str = "terminal", **request: Any) -> Struct:
        """Trade as the account's owner in the terminal's window, on the phone or in the browser.

        `front_end` is `terminal`, `mobile` or `web`; `request` has the fields of `order_send`. KeyError, RemoteError.
        """
        return self._struct("trade", login, codec.encode(request), int(_FRONT_ENDS[front_end]))

    def split(self, name: str, ratio: float) -> None:
        """Split a share: `ratio` for each. Pending orders go, positions keep their value; the market's prices are
        the caller's to divide.
        """
        self._ask("split", name, float(ratio))

    def set_symbol(self, name: str, **changes: Any) -> None:
        """Lay a symbol down anew until the broker's process ends: fields of SymbolSpec but name and sessions."""
        self._ask("set_symbol", name, codec.encode(changes))

    def add_fault(self, kind: str, **rule: Any) -> int:
        """Put a fault in force (`faults.FaultRule` has its fields and `faults.FaultKind` the kinds).

        Returns its number. Without `times` it happens once, for the first request that matches.
        """
        return int(self._ask("add_fault", codec.encode({"kind": str(kind), **rule})))

    def clear_faults(self, number: int = 0) -> int:
        """End one fault, or all of them; returns how many there were."""
        return int(self._ask("clear_faults", number))

    def faults(self) -> tuple[tuple[int, str, int, int], ...]:
        """(number, kind, matching requests seen, times happened) of each fault in force."""
        return tuple(codec.decode(self._ask("faults")))

    def disconnect(self, login: int = 0, seconds: float = 0.0) -> None:
        """Cut the terminals of an account (0: all) off the broker for so long."""
        self._ask("disconnect", login, float(seconds))

    def set_algo_trading(self, login: int, *, on: bool) -> None:
        """Press the Algo Trading button in the account's terminals, now and at later logins."""
        self._ask("algo_trading", login, on)

    def restart(self, seconds: float = 0.0) -> None:
        """Stop serving, read the books from the disk again, and serve on the same address after so long."""
        self._ask("restart", float(seconds))

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

    def _struct(self, verb: str, *arguments: Any) -> Struct:
        answer: Struct = codec.decode(self._ask(verb, *arguments))
        return answer

    def _ask(self, verb: str, *arguments: Any) -> Any:
        frames = Frames(connect(self._address, self._timeout))
        try:
            frames.send((1, "admin", (self._token,)))
            opened(frames.receive())
            frames.send((2, verb, arguments))
            return opened(frames.receive())
        finally:
            frames.close()
