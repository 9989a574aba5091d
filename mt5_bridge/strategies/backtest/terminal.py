"""The terminal of a backtest: answers a context and an execution from the engine, in the same process."""

from __future__ import annotations

from typing import Any, Final

from mt5_bridge.simulated.engine import symbol_view, views
from mt5_bridge.simulated.engine.exchange import Exchange
from mt5_bridge.simulated.engine.model import Account
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.market.series import Series
from mt5_bridge.simulated.symbols import SymbolSpec
from mt5_bridge.strategies.base import Context, Side
from mt5_bridge.strategies.execution import Held
from mt5_bridge.structs import Struct, Tick, unchecked

_SERVER: Final = "Backtest"


class BacktestContext(Context):
    """Looks a strategy's commonest question up in the book, where a terminal would be asked for all positions."""

    def __init__(self, account: Account, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held = account.positions

    @property
    def held(self) -> Side | None:
        for position in self._held.values():
            if position.magic == self.magic:
                return Side.LONG if position.buy else Side.SHORT
        return None


class BacktestTerminal:
    """What is visible of the market is set by who plays it: `closed` bars of `frames`, and the tick of the moment."""

    def __init__(self, exchange: Exchange, account: Account, spec: SymbolSpec, frames: Array, timeframe: int) -> None:
        self._exchange = exchange
        self._book = exchange.book
        self._account = account
        self._spec = spec
        self._frames = frames
        self._timeframe = timeframe
        self._sent = 0
        self._info: Struct | None = None
        self.closed = 0
        self._ticks: Array = frames[:0]
        self._number = 0
        self._tick: Struct | None = None

    def show(self, ticks: Array, number: int) -> None:
        """The tick of the moment is this one."""
        self._ticks, self._number, self._tick = ticks, number, None

    def last_error(self) -> tuple[int, str]:
        """Nothing goes wrong here."""
        return 1, "Success"

    def account_info(self) -> Struct:
        """AccountInfo of the moment."""
        return views.account_info(self._book, self._account, _SERVER, _SERVER)

    def symbol_info(self, _symbol: str, /) -> Struct:
        """What is laid down of the symbol; its prices are 0."""
        if self._info is None:
            nothing = Series(self._spec.point, self._frames[:0], self._frames[:0], times=self._frames["time"][:0])
            self._info = symbol_view.symbol_info(
                self._spec, nothing, self._book.valuation, self._account.currency, 0, selected=True, visible=True
            )
        return self._info

    def symbol_info_tick(self, _symbol: str, /) -> Struct:
        """The tick of the moment."""
        if self._tick is None:
            self._tick = unchecked(Tick, self._ticks[self._number].item())
        return self._tick

    def positions_get(self, *, symbol: str) -> tuple[Struct, ...]:
        """Open positions of the account."""
        return views.positions(self._book, self._account, {"symbol": symbol}) if self._account.positions else ()

    def held(self, magic: int) -> tuple[Held, ...]:
        """What is open of one magic number, for less than `positions_get` takes."""
        positions = self._account.positions.values()
        return tuple(Held(one.ticket, 0 if one.buy else 1, one.volume) for one in positions if one.magic == magic)

    def copy_rates_from_pos(self, _symbol: str, timeframe: int, start: int, count: int, /) -> Array:
        """Closed bars (from position 1 on) of the timeframe that is tested. Raises ValueError for anything else."""
        if timeframe != self._timeframe or start < 1:
            raise ValueError("a backtest shows closed bars of its own timeframe")
        stop = max(0, self.closed + 1 - start)
        return self._frames[max(0, stop - count) : stop]

    def describe(self) -> dict[str, Any]:
        """No order is ever open here."""
        return {"unsettled": 0, "connected": True}

    def outcome(self, _order_id: str, /) -> None:
        """Answers are never lost here, so nothing is asked for twice."""

    def give_up(self, _order_id: str, /) -> dict[str, Any]:
        """See `outcome`."""
        return {"state": "not_executed"}

    def send_once(self, _order_id: str, request: dict[str, Any], /) -> Struct:
        """Carry an order out at the quote of the moment."""
        self._sent += 1
        return self._exchange.send(self._account.login, Request.of(request), self._sent)
