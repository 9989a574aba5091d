"""Specifications of the simulated broker's symbols.

Commission and swap are 0 for all of the catalogue: the demo's books are then price differences alone. Margins follow
the calculation mode, with full margin for the uncovered part and one leg for the covered part of hedged positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mt5_bridge.simulated.market.calendar import (
    ALWAYS,
    DAY,
    FX_WEEK,
    INDEX_WEEK,
    METALS_WEEK,
    STOCK_WEEK,
    WeeklySessions,
)

FOREX = 0
FUTURES = 1
CFD = 2
CFD_INDEX = 3
CFD_LEVERAGE = 4
FOREX_NO_LEVERAGE = 5
EXCH_STOCKS = 32
EXCH_FUTURES = 33
EXCH_OPTIONS = 34
EXCH_OPTIONS_MARGIN = 36
EXCH_BONDS = 37
EXCH_STOCKS_MOEX = 38
EXCH_BONDS_MOEX = 39
COLLATERAL = 64
FOREX_MODES = frozenset({FOREX, FOREX_NO_LEVERAGE})
FUTURES_MODES = frozenset({FUTURES, EXCH_FUTURES})
BOND_MODES = frozenset({EXCH_BONDS, EXCH_BONDS_MOEX})
OPTION_MODES = frozenset({EXCH_OPTIONS, EXCH_OPTIONS_MARGIN})
LINEAR_MODES = frozenset({CFD, CFD_INDEX, CFD_LEVERAGE, EXCH_STOCKS, EXCH_STOCKS_MOEX})
"""Profit is the difference of prices times contracts, without any rounding in between."""
CALC_MODES = frozenset({COLLATERAL} | FOREX_MODES | LINEAR_MODES | FUTURES_MODES | BOND_MODES | OPTION_MODES)
INSTANT_EXECUTION = 1
MARKET_EXECUTION = 2
EXCHANGE_EXECUTION = 3
TRADE_MODE_FULL = 4
GTC_KEEP, GTC_DAILY, GTC_DAILY_NO_STOPS = range(3)
(
    SWAP_OFF,
    SWAP_POINTS,
    SWAP_BASE,
    SWAP_MARGIN,
    SWAP_DEPOSIT,
    SWAP_INTEREST_CURRENT,
    SWAP_INTEREST_OPEN,
    SWAP_REOPEN_CURRENT,
    SWAP_REOPEN_BID,
) = range(9)
WEDNESDAY = 3
WORKING_DAYS = (0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0)


@dataclass(frozen=True)
class SymbolSpec:
    """What the broker lays down for one symbol. Prices in the profit currency, volumes in lots, distances in points."""

    name: str
    description: str
    path: str
    digits: int
    contract_size: float
    currency_base: str
    currency_profit: str
    currency_margin: str
    sessions: WeeklySessions = field(default=FX_WEEK, repr=False)
    """When the symbol trades, on the broker's clock."""
    quote_sessions: WeeklySessions | None = field(default=None, repr=False)
    """When it is quoted; None: when it trades (rule Q3)."""
    calc_mode: int = FOREX
    trade_mode: int = TRADE_MODE_FULL
    live_only: bool = False
    """Whether only accounts with real money may open and place (rule L16)."""
    execution: int = MARKET_EXECUTION
    filling_mode: int = 3
    expiration_mode: int = 15
    order_mode: int = 127
    stops_level: int = 0
    freeze_level: int = 0
    volume_min: float = 0.01
    volume_max: float = 500.0
    volume_step: float = 0.01
    volume_limit: float = 0.0
    margin_initial: float = 0.0
    margin_maintenance: float = 0.0
    margin_hedged: float | None = None
    """Contract size of a covered lot, or with `margin_initial` the money for it (rule T8); None stands for the whole
    of either, so that a covered pair costs one leg."""
    margin_hedged_use_leg: bool = False
    margin_rate_buy: float = 1.0
    margin_rate_sell: float = 1.0
    """Factors on the margin of a side (rule T3)."""
    margin_rate_pending: float = 0.0
    """Share of its margin that a pending order reserves (rule T7)."""
    trade_tick_size: float = 0.0
    """Smallest price change; 0 stands for one point."""
    tick_value: float = 0.0
    """Money of one tick for one lot in the profit currency; 0 stands for tick size x contract size."""
    order_gtc_mode: int = GTC_KEEP
    chart_mode: int = 0
    """0: bars are made of Bid, 1: of Last (rule E4)."""
    swap_mode: int = SWAP_OFF
    swap_long: float = 0.0
    swap_short: float = 0.0
    swap_rollover3days: int = WEDNESDAY
    swap_multipliers: tuple[float, ...] = WORKING_DAYS
    """Days charged at the end of each day, Sunday first; the day `swap_rollover3days` counts three times."""
    commission: float = 0.0
    """Money in the deposit currency for one lot of a deal."""
    commission_on_exit: bool = True
    """Whether closing deals pay commission too (rule U6)."""
    fee: float = 0.0
    """Money in the deposit currency for each deal, beside the commission."""
    face_value: float = 0.0
    accrued_interest: float = 0.0
    """Of a bond, in the profit currency (rule U1), at the time `accrued_since`."""
    coupon: float = 0.0
    """Interest of a bond in percent of its face value a year; it accrues at the end of each day."""
    accrued_since: int = 0
    """Broker time (s) at which the interest was `accrued_interest`."""
    variation_margin: bool = False
    """Whether gains and losses are settled at the end of each working day (rule R4)."""
    option_mode: int = 0
    option_right: int = 0
    option_strike: float = 0.0
    liquidity: float | None = None
    """Lots that one side of the market takes at one tick; None for any number (rule M4)."""
    book_depth: int = 10

    @property
    def point(self) -> float:
        """Smallest price difference that the symbol's digits can show."""
        return float(f"1e-{self.digits}")

    @property
    def tick_size(self) -> float:
        """Smallest price change."""
        return self.trade_tick_size or self.point

    @property
    def tick_money(self) -> float:
        """Money of one tick for one lot, in the profit currency."""
        return self.tick_value or self.tick_size * self.contract_size

    @property
    def on_exchange(self) -> bool:
        """Whether the last deal's price, not the quotes, sets off orders and stops (rules N2, R9)."""
        return EXCH_STOCKS <= self.calc_mode < COLLATERAL

    @property
    def quoted(self) -> WeeklySessions:
        """When the symbol is quoted."""
        return self.quote_sessions or self.sessions

    @property
    def daily_interest(self) -> float:
        """What one unit of a bond accrues in a day, in the profit currency."""
        return self.face_value * self.coupon / 100.0 / 365.0 if self.calc_mode in BOND_MODES else 0.0

    def accrued_at(self, time: int) -> float:
        """Accrued interest of one unit at a broker time (s), in the profit currency."""
        return self.accrued_interest + self.daily_interest * (time // DAY - self.accrued_since // DAY)

    @property
    def hedged(self) -> float:
        """Contract size of a covered lot, or the money for it when the margin is fixed."""
        whole = self.margin_initial or self.contract_size
        return whole if self.margin_hedged is None else self.margin_hedged

    def price(self, value: float) -> float:
        """`value` rounded to the symbol's digits."""
        return round(value, self.digits) if value else 0.0


def _pair(base: str, profit: str, words: str, digits: int) -> SymbolSpec:
    return SymbolSpec(base + profit, words, f"Forex\\{base}{profit}", digits, 100_000.0, base, profit, base)


_KNOWN = (
    _pair("EUR", "USD", "Euro vs US Dollar", 5),
    _pair("GBP", "USD", "Great Britain Pound vs US Dollar", 5),
    _pair("USD", "JPY", "US Dollar vs Japanese Yen", 3),
    SymbolSpec(
        "XAUUSD",
        "Gold vs US Dollar",
        "Metals\\XAUUSD",
        2,
        100.0,
        "XAU",
        "USD",
        "USD",
        sessions=METALS_WEEK,
        calc_mode=CFD_LEVERAGE,
    ),
    SymbolSpec(
        "BTCUSD",
        "Bitcoin vs US Dollar",
        "Crypto\\BTCUSD",
        2,
        1.0,
        "BTC",
        "USD",
        "USD",
        sessions=ALWAYS,
        calc_mode=CFD_LEVERAGE,
    ),
    SymbolSpec(
        "DE40",
        "Germany 40 Index",
        "Indices\\DE40",
        1,
        1.0,
        "EUR",
        "EUR",
        "EUR",
        sessions=INDEX_WEEK,
        calc_mode=CFD_LEVERAGE,
    ),
    SymbolSpec(
        "AAPL",
        "Apple Inc.",
        "Stocks\\AAPL",
        2,
        1.0,
        "USD",
        "USD",
        "USD",
        sessions=STOCK_WEEK,
        calc_mode=EXCH_STOCKS,
        execution=EXCHANGE_EXECUTION,
        chart_mode=1,
        filling_mode=7,
        volume_min=1.0,
        volume_max=100_000.0,
        volume_step=1.0,
    ),
)
CATALOGUE = {spec.name: spec for spec in _KNOWN}
_PAIR_LETTERS = 6


def specification(name: str, digits: int | None = None) -> SymbolSpec:
    """The symbol's specification; a name that is not in the catalogue is derived from its letters.

    Six letters are read as a currency pair, anything else as a contract for difference in US dollars. `digits` (of the
    data at hand) is used for derived symbols only.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    if len(name) == _PAIR_LETTERS and name.isalpha() and name.isupper():
        default = 3 if name.endswith("JPY") else 5
        return _pair(name[:3], name[3:], f"{name[:3]} vs {name[3:]}", default if digits is None else digits)
    return SymbolSpec(
        name,
        name,
        f"CFD\\{name}",
        2 if digits is None else digits,
        1.0,
        "USD",
        "USD",
        "USD",
        sessions=ALWAYS,
        calc_mode=CFD_LEVERAGE,
    )
