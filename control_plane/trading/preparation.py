"""From a wish to what is sent: look at the terminal, check, and make the trade request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from control_plane.access.market import Market, SymbolSpec
from control_plane.access.port import Target, TerminalSession
from control_plane.access.service import not_ready
from control_plane.db.types import money
from control_plane.errors import InvalidInputError, NotFoundError
from control_plane.money import money_text
from control_plane.trading import requests, validation
from control_plane.trading.outcome import words_for
from control_plane.trading.schemas import (
    CancelAll,
    CloseAll,
    CloseBy,
    ClosePosition,
    ModifyPending,
    ModifyPosition,
    OrderPreview,
    OrderProblem,
    PlaceOrder,
)
from control_plane.trading.state import OrderKind, OrderType, Side, Which
from control_plane.trading.validation import NO_LEVELS, NO_QUOTE, Levels, Proposal, Quote, require
from mt5_bridge.contract import CONSTANTS

_HEDGING = CONSTANTS["ACCOUNT_MARGIN_MODE_RETAIL_HEDGING"]
_CHECKED = frozenset({0, CONSTANTS["TRADE_RETCODE_DONE"]})
"""What `order_check` says when nothing speaks against a request."""


@dataclass(frozen=True)
class Prepared:
    """An order that has been looked at, and what to send for it."""

    kind: OrderKind
    side: Side
    symbol: str
    volume: float
    request: Mapping[str, Any]
    type: OrderType = OrderType.MARKET
    levels: Levels = NO_LEVELS
    position_ticket: int | None = None
    position_by_ticket: int | None = None
    pending_ticket: int | None = None
    refusal: str = ""
    """Why it is not to be sent; only within a request for many, where the others go on."""


@dataclass(frozen=True)
class Preparation:
    """Looks at one terminal. All methods raise LinkLostError, RefusedError, and ConflictError without a quote.

    Those for a single order also raise InvalidInputError for what cannot be right, and NotFoundError.
    """

    market: Market
    terminal: TerminalSession
    target: Target

    def opening(self, wish: PlaceOrder) -> Prepared:
        spec, proposal = self._spec(wish.symbol), _proposal(wish)
        quoted = wish.deviation is not None or validation.needs_quote(proposal, spec)
        quote = self._quote(wish.symbol) if quoted else NO_QUOTE
        require(validation.opening_problems(proposal, spec, quote))
        kind = OrderKind.OPEN if wish.type is OrderType.MARKET else OrderKind.PENDING
        request = requests.opening(spec, proposal, quote, wish.deviation, wish.comment)
        return Prepared(kind, wish.side, spec.name, wish.volume, request, wish.type, proposal.levels)

    def closing(self, ticket: int, wish: ClosePosition) -> Prepared:
        return self._closing(self._position(ticket), wish)

    def closing_by(self, ticket: int, wish: CloseBy) -> Prepared:
        position, other = self._position(ticket), self._position(wish.position_by)
        account = self.terminal.account_info()
        if account is None:
            raise not_ready("The terminal did not say what account it has; please try again.")
        spec = self._spec(position.symbol)
        require(validation.close_by_problems(position, other, spec, hedging=account.margin_mode == _HEDGING))
        return Prepared(
            OrderKind.CLOSE_BY,
            validation.closing_side(position),
            spec.name,
            min(position.volume, other.volume),
            requests.closing_by(position, other),
            position_ticket=ticket,
            position_by_ticket=other.ticket,
        )

    def stops(self, ticket: int, wish: ModifyPosition) -> Prepared:
        position = self._position(ticket)
        spec, quote = self._spec(position.symbol), self._quote(position.symbol)
        levels = Levels(stop_loss=wish.stop_loss or 0.0, take_profit=wish.take_profit or 0.0)
        require(validation.stops_problems(levels.stop_loss, levels.take_profit, position, spec, quote))
        return Prepared(
            OrderKind.MODIFY,
            validation.position_side(position),
            spec.name,
            position.volume,
            requests.new_stops(position, levels.stop_loss, levels.take_profit),
            levels=levels,
            position_ticket=ticket,
        )

    def change(self, ticket: int, wish: ModifyPending) -> Prepared:
        order = self._pending(ticket)
        spec, quote = self._spec(order.symbol), self._quote(order.symbol)
        levels = _changed_levels(wish, order)
        require(validation.change_problems(levels, order, spec, quote))
        return self._about_pending(OrderKind.MODIFY, order, requests.change(order, levels), levels)

    def cancelling(self, ticket: int) -> Prepared:
        return self._cancelling(self._pending(ticket))

    def closing_all(self, wish: CloseAll) -> list[Prepared]:
        """Oldest first, as brokers of first in, first out demand it."""
        found = self.terminal.positions_get()
        if found is None:
            raise not_ready("The terminal could not list its positions; please try again.")
        chosen = [each for each in found if _is_chosen(each, wish)]
        return [
            self._or_refusal(
                Prepared(
                    OrderKind.CLOSE,
                    validation.closing_side(position),
                    position.symbol,
                    position.volume,
                    {},
                    position_ticket=position.ticket,
                ),
                partial(self._closing, position, ClosePosition()),
            )
            for position in sorted(chosen, key=lambda each: int(each.ticket))
        ]

    def cancelling_all(self, wish: CancelAll) -> list[Prepared]:
        found = self.terminal.orders_get()
        if found is None:
            raise not_ready("The terminal could not list its orders; please try again.")
        return [
            self._or_refusal(self._about_pending(OrderKind.CANCEL, order, {}), partial(self._cancelling, order))
            for order in sorted(found, key=lambda each: int(each.ticket))
            if wish.symbol in {None, order.symbol} and validation.pending_type(order) is not OrderType.MARKET
        ]

    def preview(self, wish: PlaceOrder) -> OrderPreview:
        """What the order would need and risk. Problems are a part of the answer."""
        spec, quote, account = self._spec(wish.symbol), self._quote(wish.symbol), self.terminal.account_info()
        if account is None:
            raise not_ready("The terminal did not say what account it has; please try again.")
        proposal = _proposal(wish)
        problems = validation.opening_problems(proposal, spec, quote)
        price = wish.stop_limit_price or wish.price or quote.to_fill(wish.side)
        action = CONSTANTS["ORDER_TYPE_BUY" if wish.side is Side.BUY else "ORDER_TYPE_SELL"]
        margin = self.terminal.order_calc_margin(action, spec.name, wish.volume, price)
        request = requests.opening(spec, proposal, quote, wish.deviation, wish.comment)
        checked = None if problems else self.terminal.order_check(request)

        def at(level: float | None) -> str | None:
            if level is None:
                return None
            profit = self.terminal.order_calc_profit(action, spec.name, wish.volume, price, level)
            return None if profit is None else money_text(money(profit))

        return OrderPreview(
            problems=[OrderProblem(field=each.field, code=each.code, message=each.text) for each in problems],
            retcode=None if checked is None else checked.retcode,
            message="" if checked is None or checked.retcode in _CHECKED else words_for(checked.retcode, ""),
            price=price,
            currency=account.currency,
            margin=None if margin is None else money_text(money(margin)),
            margin_free=money_text(money(account.margin_free)),
            margin_free_after=None if margin is None else money_text(money(account.margin_free - margin)),
            loss_at_stop=at(wish.stop_loss),
            profit_at_target=at(wish.take_profit),
            broker_time=quote.broker_time,
        )

    def _closing(self, position: Any, wish: ClosePosition) -> Prepared:
        spec, quote = self._spec(position.symbol), self._quote(position.symbol)
        lots, side = position.volume if wish.volume is None else wish.volume, validation.closing_side(position)
        require(validation.closing_problems(lots, position, spec, quote))
        request = requests.closing(spec, position, side, lots, quote, wish.deviation)
        return Prepared(OrderKind.CLOSE, side, spec.name, lots, request, position_ticket=position.ticket)

    def _cancelling(self, order: Any) -> Prepared:
        require(validation.cancel_problems(order, self._spec(order.symbol), self._quote(order.symbol)))
        return self._about_pending(OrderKind.CANCEL, order, requests.removal(order))

    @staticmethod
    def _about_pending(
        kind: OrderKind, order: Any, request: Mapping[str, Any], levels: Levels | None = None
    ) -> Prepared:
        return Prepared(
            kind,
            validation.order_side(order),
            order.symbol,
            order.volume_current,
            request,
            validation.pending_type(order),
            levels or Levels(price=order.price_open),
            pending_ticket=order.ticket,
        )

    @staticmethod
    def _or_refusal(bare: Prepared, prepare: Callable[[], Prepared]) -> Prepared:
        try:
            return prepare()
        except InvalidInputError as error:
            return replace(bare, refusal=error.detail)

    def _position(self, ticket: int) -> Any:
        position = self.terminal.position(ticket)
        if position is None:
            raise NotFoundError("This position is not open (any more).", code="position_not_found")
        return position

    def _pending(self, ticket: int) -> Any:
        order = self.terminal.pending_order(ticket)
        if order is None or validation.pending_type(order) is OrderType.MARKET:
            raise NotFoundError("There is no such pending order (any more).", code="pending_order_not_found")
        return order

    def _spec(self, symbol: str) -> SymbolSpec:
        spec = self.market.spec(self.terminal, self.target, symbol)
        if not spec.visible:
            self.terminal.symbol_select(spec.name, True)
        return spec

    def _quote(self, symbol: str) -> Quote:
        tick = self.terminal.symbol_info_tick(symbol)
        if tick is None or min(tick.bid, tick.ask) <= 0:
            raise not_ready("There is no price for this symbol yet; please try again.")
        return Quote(float(tick.bid), float(tick.ask), int(tick.time))


def _proposal(wish: PlaceOrder) -> Proposal:
    levels = Levels(
        wish.price or 0.0,
        wish.stop_limit_price or 0.0,
        wish.stop_loss or 0.0,
        wish.take_profit or 0.0,
        wish.expiration,
        wish.expires_broker_time or 0,
    )
    return Proposal(wish.type, wish.side, wish.volume, levels)


def _changed_levels(wish: ModifyPending, order: Any) -> Levels:
    kept = wish.expiration is None
    return Levels(
        wish.price,
        wish.stop_limit_price or 0.0,
        wish.stop_loss or 0.0,
        wish.take_profit or 0.0,
        validation.lifetime_of(order) if wish.expiration is None else wish.expiration,
        int(order.time_expiration) if kept else wish.expires_broker_time or 0,
    )


def _is_chosen(position: Any, wish: CloseAll) -> bool:
    if wish.symbol not in {None, position.symbol}:
        return False
    profit = Decimal(repr(position.profit))
    return {Which.ALL: True, Which.PROFITABLE: profit > 0, Which.LOSING: profit < 0}[wish.which]
