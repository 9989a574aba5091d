"""What the broker's book says of the clients' wishes and of the worker's journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.orders.workload import ACTIONS, CLOSE_BY, DEAL, PENDING, STEPS, Chain

CANCELED = 2
BALANCE = 2
DONE_PARTIAL = 10010
CLOSE_BY_TYPE = 8
DEALS = {DEAL: 1, PENDING: 0, CLOSE_BY: 2}
"""How many deals an order of each action has."""


@dataclass
class Verdict:
    """Counts of one account, or of all of them. Each text in `faults` is one order that is not as it must be."""

    wishes: int = 0
    attempts: int = 0
    in_part: int = 0
    """Orders filled in part."""
    states: Counter[str] = field(default_factory=Counter)
    settled_later: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    doubled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every order happened once and is known."""
        return not (self.doubled or self.lost or self.unsettled or self.wrong)

    def add(self, other: Verdict) -> None:
        """Add another account's counts."""
        self.wishes += other.wishes
        self.attempts += other.attempts
        self.in_part += other.in_part
        for mine, theirs in (
            (self.states, other.states),
            (self.settled_later, other.settled_later),
            (self.reasons, other.reasons),
        ):
            mine.update(theirs)
        for name in ("doubled", "lost", "unsettled", "wrong"):
            getattr(self, name).extend(getattr(other, name))


def judge(
    chains: Sequence[Chain], journal: Sequence[dict[str, Any]], orders: Sequence[Any], deals: Iterable[Any]
) -> Verdict:
    """Compare one account's wishes and journal with the broker's whole book."""
    verdict = Verdict(wishes=sum(chain.length for chain in chains), attempts=len(journal))
    rows = {row["client_order_id"]: row for row in journal}
    _count(journal, verdict)
    for chain in chains:
        _judge_chain(chain, rows, verdict)
    trades = [deal for deal in deals if deal.type != BALANCE]
    _judge_book(journal, orders, trades, verdict)
    _judge_marks(chains, orders, verdict)
    return verdict


def _count(journal: Sequence[dict[str, Any]], verdict: Verdict) -> None:
    for row in journal:
        state = row["state"]
        verdict.states[state] += 1
        verdict.in_part += row["retcode"] == DONE_PARTIAL
        if state in {"journaled", "sent", "unknown"}:
            verdict.unsettled.append(f"{row['client_order_id']} is {state}")
        if row["text"] == "settled from the account's books" or row["code"] == "not_executed":
            verdict.settled_later[state] += 1
        if state != "done":
            verdict.reasons[f"{state}: {row['code'] or row['text']}"] += 1


def _judge_chain(chain: Chain, rows: dict[str, dict[str, Any]], verdict: Verdict) -> None:
    if chain.done < chain.length:
        why = Counter(chain.complaints).most_common(3)
        verdict.lost.append(f"{chain.kind} {chain.number} stands at {chain.done} of {chain.length}: {why}")
    for step in range(chain.done):
        prefix = f"c{chain.number}-{step}-"
        tries = range(chain.tries + MOST_LOOKED_AT)
        done = [name for name in (f"{prefix}{number}" for number in tries) if rows.get(name, {}).get("state") == "done"]
        if len(done) > 1:
            verdict.doubled.append(f"{chain.kind} {chain.number} step {step} is done as {done}")
        if done != [chain.fulfilled[step]]:
            verdict.wrong.append(f"the client was told that {chain.fulfilled[step]} is done, the journal has {done}")


MOST_LOOKED_AT = 100


def _judge_book(
    journal: Sequence[dict[str, Any]], orders: Sequence[Any], trades: Sequence[Any], verdict: Verdict
) -> None:
    """Each order of the book belongs to one row that is done, and each such row has its order and its deals."""
    book = {order.ticket: order for order in orders}
    claimed: Counter[int] = Counter()
    deals = Counter(deal.order for deal in trades)
    for row in journal:
        request, ticket = row["request"], row["order"]
        if row["state"] != "done" or request["action"] not in DEALS:
            continue
        claimed[ticket] += 1
        order = book.get(ticket)
        if order is None:
            verdict.lost.append(f"{row['client_order_id']} is done as {ticket}, the book does not have it")
        elif not _is_same(order, request):
            verdict.wrong.append(f"{row['client_order_id']} is done as {ticket}, which is another order")
        if deals[ticket] != DEALS[request["action"]]:
            verdict.wrong.append(f"{row['client_order_id']} has {deals[ticket]} deals")
    verdict.wrong += [f"order {ticket} belongs to {count} rows" for ticket, count in claimed.items() if count > 1]
    verdict.doubled += [f"the book has {book[ticket]}, no row does" for ticket in book if ticket not in claimed]


def _is_same(order: Any, request: dict[str, Any]) -> bool:
    if request["action"] == CLOSE_BY:
        pair = (request["position"], request["position_by"])
        return bool(order.type == CLOSE_BY_TYPE and (order.position_id, order.position_by_id) == pair)
    return bool(
        order.symbol == request["symbol"]
        and order.type == request["type"]
        and order.volume_initial == request["volume"]
        and order.magic == request["magic"]
        and order.comment == request["comment"]
        and request.get("position", order.position_id) == order.position_id
    )


def _judge_marks(chains: Sequence[Chain], orders: Sequence[Any], verdict: Verdict) -> None:
    """Beside the journal: what the clients wished, counted in the book alone."""
    marks = Counter(order.comment for order in orders if order.type != CLOSE_BY_TYPE)
    wanted: Counter[str] = Counter()
    for chain in chains:
        for step in range(chain.done):
            if ACTIONS[STEPS[chain.kind][step]] in {DEAL, PENDING}:
                wanted[chain.mark_of(step)] += 1
        if chain.done == len(STEPS["pending"]) and chain.kind == "pending":
            _judge_removal(chain, orders, verdict)
    for mark in marks.keys() | wanted.keys():
        if marks[mark] > wanted[mark]:
            verdict.doubled.append(f"{mark!r} is {marks[mark]} times in the book instead of {wanted[mark]}")
        elif marks[mark] < wanted[mark]:
            verdict.lost.append(f"{mark!r} is {marks[mark]} times in the book instead of {wanted[mark]}")


def _judge_removal(chain: Chain, orders: Sequence[Any], verdict: Verdict) -> None:
    order = next((order for order in reversed(orders) if order.ticket == chain.tickets[0]), None)
    if order is None or order.state != CANCELED or order.price_open != 0.4:
        verdict.lost.append(f"pending {chain.number} is not changed and removed: {order}")
