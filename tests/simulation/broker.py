"""The broker: accounts, who is logged in, every deal with who made it. It is the truth about trading."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Deal:
    """Field for field what `history_deals_get` gives."""

    ticket: int
    time: int
    order: int = 0
    time_msc: int = 0
    type: int = 0
    entry: int = 0
    magic: int = 0
    position_id: int = 0
    reason: int = 3
    volume: float = 0.1
    price: float = 1.1
    commission: float = 0.0
    swap: float = 0.0
    profit: float = 0.0
    fee: float = 0.0
    symbol: str = "EURUSD"
    comment: str = ""
    external_id: str = ""

    def _asdict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class BrokerAccount:
    login: int
    password: str
    deals: list[Deal] = field(default_factory=list)
    orders: dict[str, int] = field(default_factory=dict)
    """Client order id to how often it was executed."""
    positions: int = 0


class Broker:
    """Lets several terminals into one account, as brokers do."""

    def __init__(self) -> None:
        self.accounts: dict[int, BrokerAccount] = {}
        self._tickets = 1000
        self.open = True
        """Whether the market is open, so that Expert Advisors trade."""

    def add(self, login: int, password: str) -> None:
        self.accounts[login] = BrokerAccount(login, password)

    def lets_in(self, login: int, password: str) -> bool:
        account = self.accounts.get(login)
        return account is not None and account.password == password

    def execute(self, login: int, now: float, order_id: str = "") -> Deal:
        """Open or close a position, in turn."""
        account = self.accounts[login]
        self._tickets += 1
        deal = Deal(self._tickets, int(now), order=self._tickets, time_msc=int(now * 1000), comment=order_id)
        account.deals.append(deal)
        account.positions = 0 if account.positions else 1
        if order_id:
            account.orders[order_id] = account.orders.get(order_id, 0) + 1
        return deal
