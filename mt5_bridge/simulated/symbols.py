"""Specifications of the simulated broker's symbols.

Commission and swap are 0 for all of them: the demo's books are then price differences alone. Margins follow the
calculation mode, with full margin for the uncovered part and one leg for the covered part of hedged positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mt5_bridge.simulated.market.calendar import ALWAYS, FX_WEEK, INDEX_WEEK, METALS_WEEK, WeeklySessions

FOREX = 0
FUTURES = 1
CFD = 2
CFD_INDEX = 3
CFD_LEVERAGE = 4
FOREX_NO_LEVERAGE = 5
MARKET_EXECUTION = 2
INSTANT_EXECUTION = 1
TRADE_MODE_FULL = 4


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
    calc_mode: int = FOREX
    trade_mode: int = TRADE_MODE_FULL
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
    """Contract size of a covered lot; None stands for the contract size itself, so a covered pair costs one leg."""
    margin_hedged_use_leg: bool = False
    book_depth: int = 10

    @property
    def point(self) -> float:
        """Smallest price difference that the symbol's digits can show."""
        return float(f"1e-{self.digits}")

    @property
    def tick_size(self) -> float:
        """Smallest price change."""
        return self.point

    @property
    def hedged_contract(self) -> float:
        """Contract size of a covered lot."""
        return self.contract_size if self.margin_hedged is None else self.margin_hedged

    def price(self, value: float) -> float:
        """`value` rounded to the symbol's digits."""
        return round(value, self.digits)


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
