"""Random histories of accounts, as brokers write them: hedging and netting, with everything that may happen."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from control_plane.trading.ledger import DealFacts

_SYMBOLS = ("EURUSD", "GBPJPY", "XAUUSD", "US30")
_CENT = Decimal("0.01")


@dataclass
class _Open:
    position: int
    symbol: str
    buy: bool
    hundredths: int
    """Of a lot, so that nothing is lost on the way."""
    magic: int


@dataclass
class History:
    """An account that trades at random. Times move on by seconds to days."""

    random: Random
    netting: bool
    deals: list[DealFacts] = field(default_factory=list)
    _msc: int = 1_700_000_000_000
    _ticket: int = 100
    _open: list[_Open] = field(default_factory=list)

    def play(self, steps: int) -> list[DealFacts]:
        self._operate(2, Decimal(self.random.randrange(100_000, 2_000_000)) * _CENT)
        for _ in range(steps):
            self._msc += self.random.choice((0, 1, 1_000, 60_000, 3_600_000, 7 * 3_600_000, 2 * 86_400_000))
            self._step()
        shuffled = list(self.deals)
        self.random.shuffle(shuffled)
        return shuffled

    def _step(self) -> None:
        choice = self.random.random()
        if choice < 0.04:
            self._operate(self.random.choice((2, 2, 2, 3, 5, 6)), self._money(30_000))
        elif choice < 0.07:
            self._operate(self.random.choice((4, 7, 8, 12, 15, 17)), -abs(self._money(500)))
        elif choice < 0.45 or not self._open:
            self._enter()
        elif choice < 0.5 and self.netting:
            self._reverse(self.random.choice(self._open))
        elif choice < 0.55 and not self.netting:
            self._close_by()
        else:
            self._leave(self.random.choice(self._open))

    def _enter(self) -> None:
        symbol = self.random.choice(_SYMBOLS)
        size = self.random.randrange(1, 300)
        known = next((each for each in self._open if each.symbol == symbol), None) if self.netting else None
        if known is None:
            known = _Open(self._next(), symbol, self.random.random() < 0.5, 0, self.random.choice((0, 0, 7, 42)))
            self._open.append(known)
        known.hundredths += size
        self._deal(known, known.buy, 0, size, Decimal(0))

    def _leave(self, known: _Open) -> None:
        size = known.hundredths if self.random.random() < 0.6 else self.random.randrange(1, known.hundredths + 1)
        self._deal(known, not known.buy, 1, size, self._money(20_000))
        self._shrink(known, size)

    def _reverse(self, known: _Open) -> None:
        rest = self.random.randrange(1, 200)
        self._deal(known, not known.buy, 2, known.hundredths + rest, self._money(20_000))
        known.buy, known.hundredths = not known.buy, rest
        known.magic = self.deals[-1].magic

    def _close_by(self) -> None:
        symbol = self.random.choice(self._open).symbol
        longs = [each for each in self._open if each.symbol == symbol and each.buy]
        shorts = [each for each in self._open if each.symbol == symbol and not each.buy]
        if not longs or not shorts:
            return
        size = min(longs[0].hundredths, shorts[0].hundredths)
        self._deal(longs[0], False, 3, size, self._money(20_000))
        self._deal(shorts[0], True, 3, size, Decimal(0))
        self._shrink(longs[0], size)
        self._shrink(shorts[0], size)

    def _shrink(self, known: _Open, size: int) -> None:
        known.hundredths -= size
        if not known.hundredths:
            self._open.remove(known)

    def _deal(self, known: _Open, buy: bool, entry: int, hundredths: int, profit: Decimal) -> None:
        price = round(self.random.uniform(0.5, 2.0), 5)
        commission = -Decimal(self.random.randrange(0, 900)) * _CENT
        swap = Decimal(self.random.randrange(-500, 100)) * _CENT if entry else Decimal(0)
        fee = -Decimal(self.random.choice((0, 0, 0, 35))) * _CENT
        magic = known.magic if entry != 2 else self.random.choice((0, 7, 42))
        self.deals.append(
            DealFacts(
                self._next(),
                self._ticket + 10_000,
                self._msc,
                0 if buy else 1,
                entry,
                magic,
                known.position,
                3,
                hundredths / 100,
                price,
                commission,
                swap,
                profit,
                fee,
                known.symbol,
            )
        )

    def _operate(self, kind: int, amount: Decimal) -> None:
        nothing = Decimal(0)
        self.deals.append(
            DealFacts(self._next(), 0, self._msc, kind, 0, 0, 0, 0, 0.0, 0.0, nothing, nothing, amount, nothing, "")
        )

    def _money(self, most: int) -> Decimal:
        return Decimal(self.random.randrange(-most, most + 1)) * _CENT

    def _next(self) -> int:
        self._ticket += self.random.randrange(1, 4)
        return self._ticket


def history(seed: int, steps: int = 120) -> list[DealFacts]:
    random = Random(seed)
    return History(random, netting=bool(seed % 2)).play(random.randrange(1, steps))
