"""The broker's engine: requests and ticks in, results and changes out. It knows no clock, socket or file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from mt5_bridge.simulated.engine import day_end, execution, requests, stop_out, validation
from mt5_bridge.simulated.engine.alarms import Alarms
from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.conventions import USUAL, Conventions
from mt5_bridge.simulated.engine.model import (
    DEAL_BALANCE,
    FILL_FOK,
    FILL_IOC,
    Account,
    Action,
    Kind,
    Order,
    Position,
    Quote,
    Reason,
    State,
)
from mt5_bridge.simulated.engine.money import AccountState
from mt5_bridge.simulated.engine.opening import check_money, order_of_request
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Refused, Retcode
from mt5_bridge.simulated.engine.stretches import Stretches
from mt5_bridge.simulated.engine.triggers import TickRun, in_order, is_reached, stop_reason
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.symbols import SymbolSpec
from mt5_bridge.structs import OrderCheckResult, OrderSendResult, Struct, unchecked

_WAITING = (Action.PENDING, Action.MODIFY)


class Exchange:
    """Executes requests at the current quotes and lets ticks act on orders and positions."""

    def __init__(
        self,
        specs: Mapping[str, SymbolSpec],
        accounts: Iterable[Account],
        now_msc: int,
        conventions: Conventions = USUAL,
    ) -> None:
        self.book = Book(specs, accounts, now_msc, conventions)
        self._alarms = Alarms(self.book)

    def set_quote(self, name: str, quote: Quote) -> None:
        """Set a quote without letting it act: for the first quotes after a start."""
        self.book.set_quote(name, quote)

    def open_account(self, account: Account, deposit: float) -> None:
        """Take in an account and book its deposit (rule U7)."""
        self.book.add_account(account)
        if deposit:
            self.book_money(account, deposit, "Deposit")

    def book_money(self, account: Account, amount: float, comment: str, kind: int = DEAL_BALANCE) -> int:
        """Pay into an account, or out of it, as balance or credit; returns the deal's ticket."""
        return self.book.add_deal(
            account,
            order=0,
            kind=kind,
            entry=0,
            magic=0,
            position=0,
            reason=Reason.CLIENT,
            volume=0.0,
            price=0.0,
            swap=0.0,
            profit=account.money(amount),
            symbol="",
            comment=comment,
        )

    def send(self, login: int, request: Request, request_id: int, limit: float = math.inf) -> Struct:
        """Carry a request out, filling at most `limit` lots: an OrderSendResult.

        Its `request_id` is 0 if it would not reach the server (rule K5).
        """
        account = self.book.accounts[login]
        quote = self.book.quotes.get(request.symbol)
        try:
            done = requests.carry_out(self.book, account, request, limit)
        except Refused as refusal:
            return self.refusal(request, request_id, refusal.retcode)
        code = done.retcode
        if request.action in _WAITING:
            order = account.orders.get(done.order or request.order)
            if order is not None and not self._take_marketable(order):
                code = Retcode.REJECT_CANCEL  # L21
        return _result(code, done, quote if done.with_quote else None, request_id, request)

    def refusal(self, request: Request, request_id: int, code: Retcode) -> Struct:
        """The result of a request that is refused (rule K5)."""
        quote = self.book.quotes.get(request.symbol) if code.from_server else None
        return _result(code, requests.Executed(), quote, request_id if code.from_server else 0, request)

    def _take_marketable(self, order: Order) -> bool:
        """An exchange fills a limit order that is through the market at once, or cancels it (rules N1, M4).

        False when the activation is refused.
        """
        if not requests.is_marketable(self.book, order):
            return True
        if requests.cancels_at_once(self.book, order):
            self.book.finish_order(order, order.finished(State.CANCELED, self.book.now_msc, left=order.volume))
            return True
        return self._activate(order, self.book.quotes[order.symbol])

    def check(self, login: int, request: Request) -> Struct:
        """What `order_check` gives (section J): the account after the trade, or the refusal."""
        account = self.book.accounts[login]
        code = Retcode.CHECKED
        try:
            after = self._after(account, requests.probe(self.book, account, request))
        except Refused as refusal:
            code, after = refusal.retcode, AccountState(0.0, 0.0, 0.0)
            if code is Retcode.NO_MONEY and self.book.conventions.margins_of_refused_checks:
                after = self._after(account, self._wanted(account, request))
        known = after.equity != 0.0 or code is Retcode.CHECKED
        balance = account.balance if known else 0.0
        free = account.money(after.equity - after.margin)
        level = after.level
        return OrderCheckResult(
            (int(code), balance, after.equity, after.profit, after.margin, free, level, code.comment, request.struct())
        )

    def _after(self, account: Account, probed: requests.Probed) -> AccountState:
        state = self.book.valuation.state(account, probed.positions)
        return AccountState(state.profit, state.equity, account.money(state.margin + probed.reserved))

    def _wanted(self, account: Account, request: Request) -> requests.Probed:
        """What a request that lacks money would lead to."""
        book, spec = self.book, self.book.specs[request.symbol]
        order = order_of_request(book, account, spec, Kind(request.type), request)
        if request.action == Action.PENDING:
            return requests.Probed(reserved=book.valuation.order_margin(account, order))
        price = book.quotes[spec.name].to_fill(buy=order.kind.is_buy)
        return requests.Probed(execution.positions_after(book, account, order, price))

    def advance(self, batch: Mapping[str, Array], until_msc: int) -> None:
        """Let the ticks of `batch` (per symbol, ascending) act in order of time, and time go on to `until_msc`.

        Ticks of one moment act in the order of the symbols in the batch. The result is that of `tick` for each, and of
        `pass_time` to the end.
        """
        runs = [TickRun(name, ticks) for name, ticks in batch.items()]
        alarms = self._alarms
        while True:
            alarms.refresh()
            due = self._next_tick(runs)
            moment = alarms.next_moment
            if moment <= until_msc and (due is None or moment <= due[0]):
                self._skip(runs, int(moment))
                self._pass_moment(int(moment))
                continue
            if due is None:
                break
            time_msc, index, is_hit = due
            self._skip(runs[:index], time_msc + 1)
            self._skip(runs[index + 1 :], time_msc)
            self.book.quotes[runs[index].name] = runs[index].take(hit=is_hit)
            self.book.now_msc = max(self.book.now_msc, time_msc)
            self._look(runs[index].name)
        for run in runs:
            quote = run.take_all()
            if quote is not None:
                self.book.quotes[run.name] = quote
        self.book.now_msc = max(self.book.now_msc, until_msc)

    def ticks(self, batch: Mapping[str, Array]) -> Iterator[str]:
        """Let the ticks of `batch` act one by one, and give the symbol after each: for whoever acts in between."""
        for name, quote in in_order(batch):
            self.tick(name, quote)
            yield name

    def tick(self, name: str, quote: Quote) -> None:
        """Let one tick act, not earlier than those before it."""
        book, alarms = self.book, self._alarms
        time_msc = quote.time_msc
        if book.stale_levels or book.stale_accounts or time_msc >= alarms.next_moment:
            self.pass_time(time_msc)
        book.quotes[name] = quote
        book.now_msc = max(book.now_msc, time_msc)
        calm = alarms.calm(name)
        if calm is not None:
            bid_low, bid_high, ask_low, ask_high = calm
            if bid_low < quote.bid < bid_high and ask_low < quote.ask < ask_high:
                return
        elif not alarms.every_tick and not alarms.watch(name).reached(quote):
            return
        self._look(name)

    def skip(self, name: str, stretches: Stretches, start: int, stop: int) -> int:
        """Step over the stretches from `start` on, before `stop`, in which no tick does anything.

        Returns the number of the first one that is left; its ticks are to be given to `advance`.
        """
        book, alarms = self.book, self._alarms
        if book.stale_levels or book.stale_accounts:
            alarms.refresh()
        calm = alarms.calm(name)
        if calm is None:
            return start
        left = stretches.calm_until(calm, alarms.next_moment, start, stop)
        if left > start:
            quote = stretches.last(left - 1)
            book.quotes[name] = quote
            book.now_msc = max(book.now_msc, quote.time_msc)
        return left

    def pass_time(self, until_msc: int) -> None:
        """Let time go on to `until_msc` without ticks."""
        self._alarms.refresh()
        while self._alarms.next_moment <= until_msc:
            self._pass_moment(int(self._alarms.next_moment))
            self._alarms.refresh()
        self.book.now_msc = max(self.book.now_msc, until_msc)

    def _next_tick(self, runs: list[TickRun]) -> tuple[int, int, bool] | None:
        """The earliest tick that matters: (time, number of its run, whether it reaches a level)."""
        every = self._alarms.every_tick
        best: tuple[int, int, bool] | None = None
        for index, run in enumerate(runs):
            hit = run.hit_time(self._alarms.watch(run.name))
            time = run.next_time() if every else hit
            if time is not None and (best is None or time < best[0]):
                best = (time, index, not every)
        return best

    def _skip(self, runs: list[TickRun], time_msc: int) -> None:
        """Step over ticks before `time_msc` that do nothing."""
        for run in runs:
            quote = run.take_before(time_msc)
            if quote is not None:
                self.book.quotes[run.name] = quote

    def _pass_moment(self, now_msc: int) -> None:
        """What is due at a moment: the end of the day, then of orders."""
        self.book.now_msc = max(self.book.now_msc, now_msc)
        if self._alarms.take_day_end(now_msc):
            day_end.end_day(self.book)
        self._expire(now_msc)

    def _look(self, name: str) -> None:
        """All that a tick can do, its quote being set: orders and stops of the symbol, then stop outs."""
        self._act(name)
        for account in self._alarms.endangered(name, self.book.quotes[name]):
            self._stop_out(account)

    def _expire(self, now_msc: int) -> None:
        for name, orders in self.book.orders_of.items():
            sessions = self.book.specs[name].sessions
            for order in [one for one in orders.values() if one.expiration and one.expiration * 1000 <= now_msc]:
                if sessions.next_open(order.expiration) * 1000 <= now_msc:
                    self.book.finish_order(order, order.finished(State.EXPIRED, now_msc, left=order.volume))

    def _act(self, name: str) -> None:
        """Close what has reached its stops and activate what has reached its price."""
        book = self.book
        spec = book.specs[name]
        if not book.is_open(spec):
            return
        quote = book.quotes[name]
        for position in list(book.positions_of[name].values()):
            reason = stop_reason(position, quote, on_last=spec.on_exchange)
            if reason is not None:
                self._close_at_stop(position, reason, quote)
        for order in list(book.orders_of[name].values()):
            if is_reached(order, quote, on_last=spec.on_exchange):
                self._activate(order, quote)

    def _close_at_stop(self, position: Position, reason: Reason, quote: Quote) -> None:
        digits = self.book.specs[position.symbol].digits
        level, word = (position.sl, "sl") if reason is Reason.SL else (position.tp, "tp")
        market = quote.to_fill(buy=not position.buy)
        price = self._fill_price(market, level, buy=not position.buy, limit=reason is Reason.TP)
        self._close(position, position.volume, reason, f"[{word} {level:.{digits}f}]", price, level)

    def _fill_price(self, market: float, level: float, *, buy: bool, limit: bool) -> float:
        """The price of an execution at a level that the market has reached (rules N3, R8)."""
        if limit:  # at the level or better
            better = min(market, level) if buy else max(market, level)
            return better if self.book.conventions.limits_improve else level
        return market if self.book.conventions.stops_slip else level

    def _close(
        self, position: Position, volume: float, reason: Reason, comment: str, market: float, price: float = 0.0
    ) -> bool:
        """Close by the server's own order; False if the market cannot take it now: the next tick tries again (R8)."""
        book = self.book
        spec = book.specs[position.symbol]
        if book.available(spec, buy=not position.buy) < volume:
            return False
        order = execution.closing_order(
            book, position, volume, reason=reason, comment=comment, magic=position.magic, price=price
        )
        execution.fill_whole(book, book.accounts[position.login], order, market)
        return True

    def _activate(self, order: Order, quote: Quote) -> bool:
        """Do what an order does when its price is reached; False when that is refused and the order gone (N5)."""
        book = self.book
        if order.kind in (Kind.BUY_STOP_LIMIT, Kind.SELL_STOP_LIMIT):
            # Rule N4: the same ticket goes on as a limit order.
            order.kind = Kind.BUY_LIMIT if order.kind.is_buy else Kind.SELL_LIMIT
            order.price, order.stoplimit = order.stoplimit, 0.0
            order.setup_msc = book.now_msc
            book.put_order(order)
            return self._take_marketable(order)
        account = book.accounts[order.login]
        price = quote.to_fill(buy=order.kind.is_buy)
        if order.kind not in (Kind.BUY, Kind.SELL):
            limit = order.kind in (Kind.BUY_LIMIT, Kind.SELL_LIMIT)
            price = self._fill_price(price, order.price, buy=order.kind.is_buy, limit=limit)
        if order.position and order.position not in account.positions:
            book.finish_order(order, order.finished(State.CANCELED, book.now_msc, left=order.volume))
            return True
        try:
            if not order.position:
                validation.check_trade_mode(book.specs[order.symbol], order.kind)
                market_order = replace(order, kind=Kind.BUY if order.kind.is_buy else Kind.SELL)
                check_money(book, account, market_order, price)
        except Refused:
            book.finish_order(order, order.finished(State.REJECTED, book.now_msc, left=order.volume))
            return False
        self._fill(account, order, price)
        return True

    def _fill(self, account: Account, order: Order, price: float) -> None:
        """Fill an order as far as the market goes (rule M4)."""
        book = self.book
        available = book.available(book.specs[order.symbol], buy=order.kind.is_buy)
        if available >= order.volume:
            execution.fill_whole(book, account, order, price)
            return
        if order.filling == FILL_FOK or available <= 0:
            if book.conventions.reached_without_volume == "canceled" and order.filling in (FILL_FOK, FILL_IOC):
                book.finish_order(order, order.finished(State.CANCELED, book.now_msc, left=order.volume))
            return  # or it waits for a tick that takes more
        done = execution.fill(book, account, order, available, price)
        order.initial = order.initial or order.volume
        order.volume = execution.lots(order.volume - available)
        if order.filling == FILL_IOC:
            execution.settle(book, order, State[book.conventions.rest_state.upper()], done.identifier, price)
        else:
            book.put_order(order)

    def _stop_out(self, account: Account) -> bool:
        def close(position: Position, volume: float, comment: str) -> bool:
            market = self.book.quotes[position.symbol].to_fill(buy=not position.buy)
            return self._close(position, volume, Reason.SO, comment, market)

        return stop_out.stop_out(self.book, account, close)

    def is_margin_call(self, login: int) -> bool:
        """Whether the account is at or under its margin call (rule V1)."""
        return stop_out.is_margin_call(self.book, self.book.accounts[login])


def _result(code: Retcode, done: requests.Executed, quote: Quote | None, request_id: int, request: Request) -> Struct:
    bid, ask = (0.0, 0.0) if quote is None else (quote.bid, quote.ask)
    price = done.price if done.deal else 0.0
    numbers = (int(code), done.deal, done.order, done.volume, price, bid, ask)
    return unchecked(OrderSendResult, (*numbers, code.comment, request_id, 0, request.struct()))
