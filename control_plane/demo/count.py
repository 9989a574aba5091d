"""The demo's final count: the broker's own books on one side, the control plane's trade log on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

EXPERT = "expert"


@dataclass(frozen=True)
class BrokerBook:
    """What the broker says happened on one account."""

    trades: frozenset[int]
    """Deal tickets of trades."""
    balance_deals: frozenset[int]
    """Deal tickets of deposits and the like."""
    expert_orders: frozenset[int]
    """Tickets of filled market orders that came in over the API, not from SL, TP or stop out."""


@dataclass(frozen=True)
class FarmLog:
    """What the control plane's trade log says of the same account."""

    deals: tuple[int, ...]
    """Deal tickets, one entry a row."""
    orders: tuple[tuple[str, int], ...]
    """State and broker order ticket of every order intent that left the bridge."""


@dataclass
class Count:
    """The comparison of all accounts."""

    orders_sent: int = 0
    deals_broker: int = 0
    deals_recorded: int = 0
    lost: int = 0
    duplicated: int = 0
    unsettled: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return self.lost == 0 and self.duplicated == 0 and self.unsettled == 0


def compare(accounts: Iterable[tuple[int, BrokerBook, FarmLog]]) -> Count:
    """Compare the books of each login.

    Lost: a deal of the broker that the log lacks, or an intent that is `done` although the broker knows no such order.
    Duplicated: a row too many in the log, or an executed order at the broker that no intent stands for: one wish, two
    trades.
    """
    count = Count()
    for login, book, log in accounts:
        recorded = Counter(log.deals)
        known = book.trades | book.balance_deals
        missing = known - recorded.keys()
        surplus = sum(times - 1 for times in recorded.values()) + len(recorded.keys() - known)
        done = [order for state, order in log.orders if state == "done"]
        unknown_orders = set(done) - book.expert_orders
        unwished = book.expert_orders - set(done)
        unsettled = sum(state in {"sent", "unknown", "pending", "journaled"} for state, _ in log.orders)

        count.orders_sent += len(log.orders)
        count.deals_broker += len(book.trades)
        count.deals_recorded += sum(times for ticket, times in recorded.items() if ticket not in book.balance_deals)
        count.lost += len(missing) + len(unknown_orders)
        count.duplicated += surplus + len(unwished) + (len(done) - len(set(done)))
        count.unsettled += unsettled
        for text, tickets in (
            ("deals missing from the trade log", missing),
            ("intents done without an order at the broker", unknown_orders),
            ("orders at the broker without an intent", unwished),
        ):
            if tickets:
                count.notes.append(f"account {login}: {text}: {sorted(tickets)[:5]}")
        if surplus:
            count.notes.append(f"account {login}: {surplus} rows too many in the trade log")
        if unsettled:
            count.notes.append(f"account {login}: {unsettled} orders with unknown outcome")
    return count
