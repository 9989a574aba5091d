"""The broker's engine: requests and ticks in, results and changes out. It knows no clock, socket or file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from mt5_bridge.simulated.engine import day_end, execution, requests, stop_out, validation
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
from mt5_bridge.simulated.engine.money import AccountState, Valuation
from mt5_bridge.simulated.engine.opening import check_money, order_of_request
from mt5_bridge.simulated.engine.request import Request
from mt5_bridge.simulated.engine.retcodes import Refused, Retcode
from mt5_bridge.simulated.engine.triggers import NO_LEVELS, Levels, TickRun, is_reached, levels_of, stop_reason
from mt5_bridge.simulated.market.bars import Array
from mt5_bridge.simulated.symbols import SymbolSpec
from mt5_bridge.structs import OrderCheckResult, OrderSendResult, Struct

_NEAR = 1.05
"""Accounts whose worst margin level in a batch is within this factor of the stop out are watched tick by tick."""


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
        self._levels: dict[str, Levels] = {}
        self._expirations: dict[str, int] = {}
        self._day_ends = 0
        self._worst: dict[str, Quote] = {}
        self._worst_valuation = Valuation(self.book.specs, self._worst, conventions.margin_rate_side)

    def set_quote(self, name: str, quote: Quote) -> None:
        """Set a quote without letting it act: for the first quotes after a start."""
        self.book.quotes[name] = quote

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
        if request.action in (Action.PENDING, Action.MODIFY):
            self._take_marketable(account.orders.get(done.order or request.order))
        return _result(done.retcode, done, quote if done.with_quote else None, request_id, request)

    def refusal(self, request: Request, request_id: int, code: Retcode) -> Struct:
        """The result of a request that is refused (rule K5)."""
        quote = self.book.quotes.get(request.symbol) if code.from_server else None
        return _result(code, requests.Executed(), quote, request_id if code.from_server else 0, request)

    def _take_marketable(self, order: Order | None) -> None:
        """An exchange fills a limit order that is through the market at once, or cancels it (rules N1, M4)."""
        if order is None or not requests.is_marketable(self.book, order):
            return
        if requests.cancels_at_once(self.book, order):
            self.book.finish_order(order, order.finished(State.CANCELED, self.book.now_msc, left=order.volume))
        else:
            self._activate(order, self.book.quotes[order.symbol])

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
        """Let the ticks of `batch` (per symbol, ascending) act in order of time, and time go on to `until_msc`."""
        runs = [TickRun(name, ticks) for name, ticks in batch.items()]
        risky = self._near_stop_out(runs)
        while True:
            self._refresh_levels()
            due = self._next_tick(runs, every=bool(risky))
            event = min((self._day_end(), *self._expirations.values()))
            if event <= until_msc and (due is None or event <= due[0]):
                self._pass_time(runs, int(event))
                if event == self._day_ends:
                    day_end.end_day(self.book)
                    self._day_ends = 0
                self._expire(int(event))
                continue
            if due is None:
                break
            time_msc, run, is_hit = due
            self._pass_time([one for one in runs if one is not run], time_msc)
            self.book.quotes[run.name] = run.take(hit=is_hit)
            changed = self._act(run.name) if is_hit else False
            for account in risky:
                changed |= self._stop_out(account)
            if changed:
                risky = self._near_stop_out(runs)
        for run in runs:
            quote = run.take_all()
            if quote is not None:
                self.book.quotes[run.name] = quote
        self.book.now_msc = max(self.book.now_msc, until_msc)

    def _day_end(self) -> float:
        """The next midnight of the broker's clock, if anybody holds anything then."""
        if not any(one.positions or one.orders for one in self.book.accounts.values()):
            self._day_ends = 0
            return math.inf
        self._day_ends = self._day_ends or day_end.next_day_end(self.book.now_msc)
        return self._day_ends

    def _next_tick(self, runs: list[TickRun], *, every: bool) -> tuple[int, TickRun, bool] | None:
        """The earliest tick that matters: (time, run, whether it reaches a level)."""
        best: tuple[int, TickRun, bool] | None = None
        for run in runs:
            hit = run.hit_time(self._levels.get(run.name, NO_LEVELS))
            time = run.next_time() if every else hit
            if time is not None and (best is None or time < best[0]):
                best = (time, run, hit is not None and hit == time)
        return best

    def _pass_time(self, runs: list[TickRun], time_msc: int) -> None:
        for run in runs:
            quote = run.take_before(time_msc)
            if quote is not None:
                self.book.quotes[run.name] = quote
        self.book.now_msc = max(self.book.now_msc, time_msc)

    def _refresh_levels(self) -> None:
        for name in self.book.stale_levels:
            orders = self.book.orders_of[name].values()
            spec = self.book.specs[name]
            self._levels[name] = levels_of(self.book.positions_of[name].values(), orders, on_last=spec.on_exchange)
            self._expirations.pop(name, None)
            ends = [order.expiration for order in orders if order.expiration]
            if ends:
                # Outside of sessions nothing is done: the order goes when the symbol trades again (rule M6).
                self._expirations[name] = spec.sessions.next_open(min(ends)) * 1000
        self.book.stale_levels.clear()

    def _expire(self, now_msc: int) -> None:
        for name, orders in self.book.orders_of.items():
            sessions = self.book.specs[name].sessions
            for order in [one for one in orders.values() if one.expiration and one.expiration * 1000 <= now_msc]:
                if sessions.next_open(order.expiration) * 1000 <= now_msc:
                    self.book.finish_order(order, order.finished(State.EXPIRED, now_msc, left=order.volume))

    def _act(self, name: str) -> bool:
        """Close what has reached its stops and activate what has reached its price; True if anything happened."""
        book = self.book
        spec = book.specs[name]
        if not book.is_open(spec):
            return False
        quote = book.quotes[name]
        happened = False
        for position in list(book.positions_of[name].values()):
            reason = stop_reason(position, quote, on_last=spec.on_exchange)
            if reason is not None:
                happened |= self._close_at_stop(position, reason, quote)
        for order in list(book.orders_of[name].values()):
            if is_reached(order, quote, on_last=spec.on_exchange):
                self._activate(order, quote)
                happened = True
        return happened

    def _close_at_stop(self, position: Position, reason: Reason, quote: Quote) -> bool:
        digits = self.book.specs[position.symbol].digits
        level, word = (position.sl, "sl") if reason is Reason.SL else (position.tp, "tp")
        market = quote.to_fill(buy=not position.buy)
        if reason is Reason.TP:  # at the level or better (rule R8)
            market = max(market, level) if position.buy else min(market, level)
        return self._close(position, position.volume, reason, f"[{word} {level:.{digits}f}]", market, level)

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

    def _activate(self, order: Order, quote: Quote) -> None:
        book = self.book
        if order.kind in (Kind.BUY_STOP_LIMIT, Kind.SELL_STOP_LIMIT):
            # Rule N4: the same ticket goes on as a limit order.
            order.kind = Kind.BUY_LIMIT if order.kind.is_buy else Kind.SELL_LIMIT
            order.price, order.stoplimit = order.stoplimit, 0.0
            order.setup_msc = book.now_msc
            book.put_order(order)
            self._take_marketable(order)
            return
        account = book.accounts[order.login]
        price = quote.to_fill(buy=order.kind.is_buy)
        if order.kind in (Kind.BUY_LIMIT, Kind.SELL_LIMIT):  # at the price or better (rule N3)
            price = min(price, order.price) if order.kind.is_buy else max(price, order.price)
        if order.position and order.position not in account.positions:
            book.finish_order(order, order.finished(State.CANCELED, book.now_msc, left=order.volume))
            return
        try:
            if not order.position:
                validation.check_trade_mode(book.specs[order.symbol], order.kind)
                market_order = replace(order, kind=Kind.BUY if order.kind.is_buy else Kind.SELL)
                check_money(book, account, market_order, price)
        except Refused:
            book.finish_order(order, order.finished(State.REJECTED, book.now_msc, left=order.volume))
            return
        self._fill(account, order, price)

    def _fill(self, account: Account, order: Order, price: float) -> None:
        """Fill an order as far as the market goes (rule M4)."""
        book = self.book
        available = book.available(book.specs[order.symbol], buy=order.kind.is_buy)
        if available >= order.volume:
            execution.fill_whole(book, account, order, price)
            return
        if order.filling == FILL_FOK or available <= 0:
            return  # it waits for a tick that takes more
        done = execution.fill(book, account, order, available, price)
        order.initial = order.initial or order.volume
        order.volume = execution.lots(order.volume - available)
        if order.filling == FILL_IOC:
            execution.settle(book, order, State.CANCELED, done.identifier, price)
        else:
            book.put_order(order)

    def _near_stop_out(self, runs: list[TickRun]) -> list[Account]:
        """Accounts that may reach their stop out within the batch."""
        exposed = [account for account in self.book.accounts.values() if account.positions]
        if not exposed:
            return []
        self._worst.clear()
        self._worst.update(self.book.quotes)
        for run in runs:
            worst = run.worst()
            if worst is not None:
                now = self.book.quotes.get(run.name, worst)
                self._worst[run.name] = Quote(min(now.bid, worst.bid), max(now.ask, worst.ask), 0)
        return [one for one in exposed if stop_out.is_stop_out(self.book, one, self._worst_valuation, _NEAR)]

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
    return OrderSendResult((*numbers, code.comment, request_id, 0, request.struct()))
