"""Trades built from deals: a trade is one closing, with its share of what the opening cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from control_plane.trading.ledger import (
    BUY,
    ENTRY_IN,
    ENTRY_INOUT,
    SELL,
    DealFacts,
    book_order,
)

_NOTHING = 1e-9
"""Lots below which a position counts as closed: volumes are sums of binary fractions."""
ZERO = Decimal(0)


@dataclass(frozen=True)
class Trade:
    """One closing, whole or partial. Times in broker wall clock, milliseconds; money in the account currency."""

    position_id: int
    closing_ticket: int
    symbol: str
    long: bool
    volume: float
    """Lots."""
    opened_msc: int
    closed_msc: int
    price_open: float
    """Average of the openings, by volume; the closing price where no opening is known."""
    price_close: float
    profit: Decimal
    """Without costs."""
    swap: Decimal
    commission: Decimal
    """Commissions and fees of the closing, and of the opening by share of volume."""
    magic: int
    """Of the opening, which is who opened it; of the closing where no opening is known."""

    @property
    def net(self) -> Decimal:
        return self.profit + self.swap + self.commission

    @property
    def held_seconds(self) -> float:
        return (self.closed_msc - self.opened_msc) / 1000


@dataclass
class _Lot:
    """What is open of one position."""

    long: bool
    magic: int
    opened_msc: int
    volume: float = 0.0
    price: float = 0.0
    costs: Decimal = ZERO
    swap: Decimal = ZERO


@dataclass
class _Book:
    open: dict[int, _Lot] = field(default_factory=dict)
    trades: list[Trade] = field(default_factory=list)

    def take(self, deal: DealFacts) -> None:
        lot = self.open.get(deal.position_id)
        if deal.entry == ENTRY_IN:
            self._enlarge(lot, deal, deal.volume, deal.commission + deal.fee, deal.swap, deal.profit)
        elif deal.entry == ENTRY_INOUT and lot is not None:
            self._reverse(lot, deal)
        else:
            self._close(lot, deal, deal.volume, deal.commission + deal.fee)

    def _enlarge(
        self, lot: _Lot | None, deal: DealFacts, volume: float, costs: Decimal, swap: Decimal, profit: Decimal
    ) -> None:
        if lot is None:
            lot = self.open[deal.position_id] = _Lot(deal.type == BUY, deal.magic, deal.time_msc)
        total = lot.volume + volume
        lot.price = (lot.price * lot.volume + deal.price * volume) / total if total else deal.price
        lot.volume = total
        lot.costs += costs
        # An opening earns nothing, but what a broker books with it must not be lost.
        lot.swap += swap + profit

    def _reverse(self, lot: _Lot, deal: DealFacts) -> None:
        """Netting: closes all that is open and opens the rest the other way."""
        closed = min(lot.volume, deal.volume)
        rest = deal.volume - closed
        costs = deal.commission + deal.fee
        share = costs if rest <= _NOTHING else _share(costs, closed, deal.volume)
        self._close(lot, deal, closed, share)
        if rest > _NOTHING:
            self._enlarge(None, deal, rest, costs - share, ZERO, ZERO)

    def _close(self, lot: _Lot | None, deal: DealFacts, volume: float, costs: Decimal) -> None:
        if lot is None:  # its opening lies before what is known
            lot = _Lot(deal.type == SELL, deal.magic, deal.time_msc, volume, deal.price)
        whole = lot.volume - volume <= _NOTHING
        opening = lot.costs if whole else _share(lot.costs, volume, lot.volume)
        swap = lot.swap if whole else _share(lot.swap, volume, lot.volume)
        self.trades.append(
            Trade(
                position_id=deal.position_id,
                closing_ticket=deal.ticket,
                symbol=deal.symbol,
                long=lot.long,
                volume=volume,
                opened_msc=lot.opened_msc,
                closed_msc=deal.time_msc,
                price_open=lot.price,
                price_close=deal.price,
                profit=deal.profit,
                swap=deal.swap + swap,
                commission=costs + opening,
                magic=lot.magic,
            )
        )
        if whole:
            self.open.pop(deal.position_id, None)
        else:
            lot.volume -= volume
            lot.costs -= opening
            lot.swap -= swap


def trades_of(deals: Iterable[DealFacts]) -> list[Trade]:
    """Closed trades in the order of their closing, on hedging and netting accounts alike.

    Openings of one position are averaged, each partial close is a trade, a reversal (`inout`) is a closing and an
    opening, and a close-by is two closings, one of each position.
    """
    book = _Book()
    for deal in sorted((deal for deal in deals if deal.type in (BUY, SELL)), key=book_order):
        book.take(deal)
    return book.trades


@dataclass(frozen=True)
class Bar:
    """Highest and lowest price of a span, broker wall clock in milliseconds."""

    from_msc: int
    until_msc: int
    high: float
    low: float


@dataclass(frozen=True)
class Excursion:
    """How far the price went against (MAE) and in favour (MFE) of a trade while it was open; never negative.

    In price, and in money where the trade's own profit tells what a price step is worth.
    """

    adverse: float
    favourable: float
    adverse_money: float | None
    favourable_money: float | None


def excursion_of(trade: Trade, bars: Sequence[Bar]) -> Excursion | None:
    """From the bars that lie wholly within the trade, and its own prices. None when no bar does.

    Bars that overlap its ends show prices from when it was not open.
    """
    within = [bar for bar in bars if bar.from_msc >= trade.opened_msc and bar.until_msc <= trade.closed_msc]
    if not within:
        return None
    high = max(trade.price_open, trade.price_close, *(bar.high for bar in within))
    low = min(trade.price_open, trade.price_close, *(bar.low for bar in within))
    up, down = high - trade.price_open, trade.price_open - low
    adverse, favourable = (down, up) if trade.long else (up, down)
    move = trade.price_close - trade.price_open
    if move == 0 or trade.profit == 0:
        return Excursion(adverse, favourable, None, None)
    worth = abs(float(trade.profit) / move)
    return Excursion(adverse, favourable, adverse * worth, favourable * worth)


def _share(amount: Decimal, part: float, whole: float) -> Decimal:
    return amount * Decimal(repr(part)) / Decimal(repr(whole))
