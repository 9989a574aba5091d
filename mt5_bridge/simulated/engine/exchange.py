"""The broker's engine: requests and ticks in, results and changes out. It knows no clock, socket or file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from mt5_bridge.simulated.engine import execution, requests, validation
from mt5_bridge.simulated.engine.book import Book
from mt5_bridge.simulated.engine.model import DEAL_BALANCE, Account, Kind, Order, Position, Quote, Reason, State
from mt5_bridge.simulated.engine.money import AccountState, Valuation
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

    def __init__(self, specs: Mapping[str, SymbolSpec], accounts: Iterable[Account], now_msc: int) -> None:
        self.book = Book(specs, accounts, now_msc)
        self._levels: dict[str, Levels] = {}
        self._expirations: dict[str, int] = {}
        self._worst: dict[str, Quote] = {}
        self._worst_valuation = Valuation(self.book.specs, self._worst)

    def set_quote(self, name: str, quote: Quote) -> None:
        """Set a quote without letting it act: for the first quotes after a start."""
        self.book.quotes[name] = quote

    def open_account(self, account: Account, deposit: float) -> None:
        """Take in an account and book its deposit (rule U7)."""
        self.book.add_account(account)
        if deposit:
            self.book.add_deal(
                account,
                order=0,
                kind=DEAL_BALANCE,
                entry=0,
                magic=0,
                position=0,
                reason=Reason.CLIENT,
                volume=0.0,
                price=0.0,
                swap=0.0,
                profit=account.money(deposit),
                symbol="",
                comment="Deposit",
            )

    def send(self, login: int, request: Request, request_id: int) -> Struct:
        """Carry a request out: an OrderSendResult; its `request_id` is 0 if it would not reach the server."""
        account = self.book.accounts[login]
        quote = self.book.quotes.get(request.symbol)
        try:
            done = requests.carry_out(self.book, account, request)
        except Refused as refusal:
            code = refusal.retcode
            seen = quote if code.from_server else None
            used = request_id if code.from_server else 0
            return _result(code, requests.Executed(), seen, used, request)
        return _result(Retcode.DONE, done, quote if done.with_quote else None, request_id, request)

    def check(self, login: int, request: Request) -> Struct:
        """What `order_check` gives (section J): the account after the trade, or the refusal."""
        account = self.book.accounts[login]
        code = Retcode.CHECKED
        try:
            opened = requests.probe(self.book, account, request)
            after = self.book.valuation.state(account, opened)
        except Refused as refusal:
            code, after = refusal.retcode, AccountState(0.0, 0.0, 0.0)
            if code is Retcode.NO_MONEY:
                after = self._with(account, request)
        known = code in (Retcode.CHECKED, Retcode.NO_MONEY)
        balance = account.balance if known else 0.0
        free = account.money(after.equity - after.margin)
        level = after.level
        return OrderCheckResult(
            (int(code), balance, after.equity, after.profit, after.margin, free, level, code.comment, request.struct())
        )

    def _with(self, account: Account, request: Request) -> AccountState:
        spec = self.book.specs[request.symbol]
        quote = self.book.quotes[spec.name]
        buy = request.type == Kind.BUY
        price = quote.ask if buy else quote.bid
        per_lot = self.book.valuation.margin_per_lot(account, spec, price, buy=buy)
        now = self.book.now_msc
        extra = Position(
            0, account.login, spec.name, buy, request.volume, price, 0.0, 0.0, 0, "", 0, 0, per_lot, now, now
        )
        return self.book.valuation.state(account, extra)

    def advance(self, batch: Mapping[str, Array], until_msc: int) -> None:
        """Let the ticks of `batch` (per symbol, ascending) act in order of time, and time go on to `until_msc`."""
        runs = [TickRun(name, ticks) for name, ticks in batch.items()]
        risky = self._near_stop_out(runs)
        while True:
            self._refresh_levels()
            due = self._next_tick(runs, every=bool(risky))
            expires = min(self._expirations.values(), default=math.inf)
            if expires <= until_msc and (due is None or expires <= due[0]):
                self._pass_time(runs, int(expires))
                self._expire(int(expires))
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
            self._levels[name] = levels_of(self.book.positions_of[name].values(), orders)
            self._expirations.pop(name, None)
            ends = [order.expiration * 1000 for order in orders if order.expiration]
            if ends:
                self._expirations[name] = min(ends)
        self.book.stale_levels.clear()

    def _expire(self, now_msc: int) -> None:
        for orders in self.book.orders_of.values():
            for order in [one for one in orders.values() if one.expiration and one.expiration * 1000 <= now_msc]:
                self.book.finish_order(order, order.finished(State.EXPIRED, now_msc, left=order.volume))

    def _act(self, name: str) -> bool:
        """Close what has reached its stops and activate what has reached its price; True if anything happened."""
        book = self.book
        if not book.is_open(book.specs[name]):
            return False
        quote = book.quotes[name]
        happened = False
        for position in list(book.positions_of[name].values()):
            reason = stop_reason(position, quote)
            if reason is not None:
                self._close_at_stop(position, reason, quote)
                happened = True
        for order in list(book.orders_of[name].values()):
            if is_reached(order, quote):
                self._activate(order, quote)
                happened = True
        return happened

    def _close_at_stop(self, position: Position, reason: Reason, quote: Quote) -> None:
        digits = self.book.specs[position.symbol].digits
        level, word = (position.sl, "sl") if reason is Reason.SL else (position.tp, "tp")
        self._close(position, reason, f"[{word} {level:.{digits}f}]", quote, price=level)

    def _close(self, position: Position, reason: Reason, comment: str, quote: Quote, price: float = 0.0) -> None:
        book = self.book
        order = execution.closing_order(
            book, position, position.volume, reason=reason, comment=comment, magic=position.magic, price=price
        )
        market = quote.bid if position.buy else quote.ask
        execution.close_position(book, book.accounts[position.login], position, order, market)

    def _activate(self, order: Order, quote: Quote) -> None:
        book = self.book
        if order.kind in (Kind.BUY_STOP_LIMIT, Kind.SELL_STOP_LIMIT):
            # Rule N4: the same ticket goes on as a limit order.
            order.kind = Kind.BUY_LIMIT if order.kind.is_buy else Kind.SELL_LIMIT
            order.price, order.stoplimit = order.stoplimit, 0.0
            order.setup_msc = book.now_msc
            book.put_order(order)
            return
        account = book.accounts[order.login]
        price = quote.ask if order.kind.is_buy else quote.bid
        try:
            validation.check_trade_mode(book.specs[order.symbol], order.kind)
            requests.check_money(book, account, order, price)
        except Refused:
            book.finish_order(order, order.finished(State.REJECTED, book.now_msc, left=order.volume))
            return
        execution.open_position(book, account, order, price)

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
        return [account for account in exposed if self._is_below(account, self._worst_valuation, _NEAR)]

    @staticmethod
    def _is_below(account: Account, valuation: Valuation, factor: float) -> bool:
        state = valuation.state(account)
        return state.margin > 0 and state.level <= account.margin_so_so * factor

    def _stop_out(self, account: Account) -> bool:
        """Close the largest losses until the margin level is above the stop out (rules V1, V2)."""
        book = self.book
        happened = False
        while self._is_below(account, book.valuation, 1.0):
            closable = [one for one in account.positions.values() if book.is_open(book.specs[one.symbol])]
            if not closable:
                break
            loser = min(closable, key=lambda one: book.valuation.floating(account, one)[1])
            level = book.valuation.state(account).level
            self._close(loser, Reason.SO, f"[so {level:.2f}%]", book.quotes[loser.symbol])
            happened = True
        return happened


def _result(code: Retcode, done: requests.Executed, quote: Quote | None, request_id: int, request: Request) -> Struct:
    bid, ask = (0.0, 0.0) if quote is None else (quote.bid, quote.ask)
    price = done.price if done.deal else 0.0
    numbers = (int(code), done.deal, done.order, done.volume, price, bid, ask)
    return OrderSendResult((*numbers, code.comment, request_id, 0, request.struct()))
