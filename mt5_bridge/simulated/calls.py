"""The read functions of the API as the broker answers them to a terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from mt5_bridge.simulated.broker import Broker
from mt5_bridge.simulated.engine import symbol_view, views
from mt5_bridge.simulated.engine.filters import matches_group
from mt5_bridge.simulated.engine.model import Account
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Retcode
from mt5_bridge.simulated.link import RemoteError
from mt5_bridge.simulated.market.bars import TIMEFRAMES
from mt5_bridge.simulated.market.series import MAX_BARS, Series

Args = tuple[Any, ...]
Kwargs = Mapping[str, Any]
_Finder = Callable[[Account, Args, Kwargs], views.Records]
_NO_FILTERS: Kwargs = MappingProxyType({})
CALL_FAILED = (-1, "Terminal: Call failed")
INVALID_PARAMS = (-2, "Terminal: Invalid params")
NOT_FOUND = (-4, "Terminal: Not found")


class Calls:
    """Functions for one account; `selected` are the names in the terminal's Market Watch."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._book = broker.book
        self._functions: dict[str, Callable[[Account, Args, Kwargs, Collection[str]], Any]] = {
            "account_info": self._account_info,
            "symbols_total": lambda *_: len(self._book.specs),
            "symbols_get": self._symbols_get,
            "symbol_info": self._symbol_info,
            "symbol_info_tick": self._symbol_info_tick,
            "market_book_get": self._market_book_get,
            "copy_rates_from": self._copy_rates_from,
            "copy_rates_from_pos": self._copy_rates_from_pos,
            "copy_rates_range": self._copy_rates_range,
            "copy_ticks_from": self._copy_ticks_from,
            "copy_ticks_range": self._copy_ticks_range,
            "orders_total": lambda account, *_: len(account.orders),
            "orders_get": lambda account, _, kwargs, __: views.orders(self._book, account, kwargs),
            "positions_total": lambda account, *_: len(account.positions),
            "positions_get": lambda account, _, kwargs, __: views.positions(self._book, account, kwargs),
            "order_calc_margin": self._order_calc_margin,
            "order_calc_profit": self._order_calc_profit,
            "order_check": self._order_check,
            "history_orders_total": lambda account, args, *_: len(self._history(views.history_orders, account, args)),
            "history_orders_get": lambda account, args, kwargs, _: self._history(
                views.history_orders, account, args, kwargs
            ),
            "history_deals_total": lambda account, args, *_: len(self._history(views.history_deals, account, args)),
            "history_deals_get": lambda account, args, kwargs, _: self._history(
                views.history_deals, account, args, kwargs
            ),
        }

    def call(
        self,
        login: int,
        function: str,
        args: Args,
        kwargs: Kwargs,
        selected: Collection[str],
        *,
        investor: bool = False,
    ) -> Any:
        """The function's value; its arguments have been checked by the package's side. Raises RemoteError.

        An `investor` may look and not trade (rule H4).
        """
        handler = self._functions.get(function)
        if handler is None:
            raise RemoteError(-7, "Terminal: Unsupported function")
        account = self._book.accounts[login]
        return handler(replace(account, trade_allowed=False) if investor else account, args, kwargs, selected)

    def _history(
        self,
        find: Callable[[Account, Args, Kwargs], views.Records],
        account: Account,
        dates: Args,
        filters: Kwargs = _NO_FILTERS,
    ) -> views.Records:
        refused = self._book.conventions.reversed_dates_error
        if dates and dates[0] > dates[1] and refused is not None:
            raise RemoteError(*refused)  # W10
        return find(account, dates, filters)

    def _series(self, name: str) -> Series:
        series = self._broker.market.series.get(name)
        if series is None:
            raise RemoteError(*CALL_FAILED)  # E7, F5
        return series

    def _account_info(self, account: Account, *_: object) -> Any:
        return views.account_info(self._book, account, self._broker.server, self._broker.company)

    def _info(self, account: Account, name: str, selected: Collection[str]) -> Any:
        series, valuation = self._broker.market.series[name], self._book.valuation
        spec = self._book.specs[name]
        visible = name in selected
        chosen = visible or name in self._crosses(account, selected)
        now = self._book.now_msc // 1000
        return symbol_view.symbol_info(spec, series, valuation, account.currency, now, selected=chosen, visible=visible)

    def _crosses(self, account: Account, selected: Collection[str]) -> set[str]:
        """Symbols that convert the money of selected ones: they are selected without being shown (rule D10)."""
        specs = [self._book.specs[name] for name in selected if name in self._book.specs]
        currencies = {spec.currency_profit for spec in specs} | {spec.currency_margin for spec in specs}
        crosses = (self._book.valuation.crosses(currency, account.currency) for currency in currencies)
        return {name for names in crosses for name in names}

    def _symbols_get(self, account: Account, _: Args, kwargs: Kwargs, selected: Collection[str]) -> Any:
        group = kwargs.get("group", "")
        names = [name for name in self._book.specs if not group or matches_group(name, group)]  # D5
        return tuple(self._info(account, name, selected) for name in names)

    def _symbol_info(self, account: Account, args: Args, _: Kwargs, selected: Collection[str]) -> Any:
        if args[0] not in self._book.specs:
            raise RemoteError(*NOT_FOUND)  # D6
        return self._info(account, args[0], selected)

    def _symbol_info_tick(self, account: Account, args: Args, __: Kwargs, selected: Collection[str]) -> Any:
        name = args[0]
        chosen = name in self._book.specs and (name in selected or name in self._crosses(account, selected))
        tick = symbol_view.tick(self._series(name)) if chosen else None
        if tick is None:
            raise RemoteError(*self._book.conventions.unselected_tick_error)  # D9
        return tick

    def _market_book_get(self, _: Account, args: Args, *__: object) -> Any:
        name = args[0]
        return symbol_view.depth(self._book.specs[name], self._series(name), self._book.orders_of[name].values())

    def _check_bars(self, timeframe: int, count: int, start: int = 0) -> None:
        if timeframe not in TIMEFRAMES:
            raise RemoteError(*self._book.conventions.bad_timeframe_error)  # E9
        if not 0 < count < MAX_BARS or start < 0:
            raise RemoteError(*INVALID_PARAMS)  # E6

    def _copy_rates_from(self, _: Account, args: Args, *__: object) -> Any:
        name, timeframe, time, count = args
        self._check_bars(timeframe, count)
        return self._series(name).bars_until(timeframe, time, count)

    def _copy_rates_from_pos(self, _: Account, args: Args, *__: object) -> Any:
        name, timeframe, start, count = args
        self._check_bars(timeframe, count, start)
        return self._series(name).bars_from_position(timeframe, start, count)

    def _copy_rates_range(self, _: Account, args: Args, *__: object) -> Any:
        name, timeframe, first, last = args
        self._check_bars(timeframe, 1)
        return self._series(name).bars_range(timeframe, first, last)

    def _copy_ticks_from(self, _: Account, args: Args, *__: object) -> Any:
        name, time, count, flags = args
        if count <= 0:
            raise RemoteError(*INVALID_PARAMS)
        return self._series(name).ticks_from(time, count, flags)

    def _copy_ticks_range(self, _: Account, args: Args, *__: object) -> Any:
        name, first, last, flags = args
        return self._series(name).ticks_range(first, last, flags)

    def _order_calc_margin(self, account: Account, args: Args, *_: object) -> float:
        action, name, volume, price = args
        spec = self._checked(action, name, volume, price)
        per_lot = self._book.valuation.margin_per_lot(account, spec, price, buy=action == 0)
        return account.money(per_lot * volume)

    def _order_calc_profit(self, account: Account, args: Args, *_: object) -> float:
        action, name, volume, opened, closed = args
        spec = self._checked(action, name, volume, opened, closed)
        return self._book.valuation.profit(account, spec, volume, opened, closed, buy=action == 0)

    def _order_check(self, account: Account, args: Args, *_: object) -> Any:
        request = Request.of(args[0])
        if account.trade_expert and not account.trade_allowed:
            return request.refused_check(Retcode.TRADE_DISABLED)
        return self._broker.exchange.check(account.login, request)

    def _checked(self, action: int, name: str, volume: float, *prices: float) -> Any:
        if action not in (0, 1) or volume <= 0 or min(prices) <= 0:
            raise RemoteError(*self._book.conventions.bad_margin_error)  # T9
        spec = self._book.specs.get(name)
        if spec is None:
            raise RemoteError(*self._book.conventions.unknown_margin_symbol_error)
        return spec
