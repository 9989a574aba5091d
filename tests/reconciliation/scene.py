"""Many accounts at once, each with a book at its broker and a log that differs from it in planted ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import inspect, select, update

from control_plane.accounts.model import Account
from control_plane.assignments.model import Assignment
from control_plane.db.bulk import put_rows
from control_plane.db.types import money
from control_plane.ids import new_id
from control_plane.terminals.model import Terminal, TerminalObservation
from control_plane.trading import book_rows
from control_plane.trading.model import BookDifference, Deal, Reconciliation
from mt5_bridge.structs import TradeDeal
from tests.unit.control_plane.world import START, FakeTerminal, World, build_world, filled

MONTH = 30 * 86_400
Plants = set[tuple[str, str, int]]
"""Subject, kind and ticket of each difference that must be found."""


@dataclass
class Scene:
    """A control plane whose terminals are played. `begin` is before anything was compared."""

    data: Path
    deals: int
    planted: dict[str, Plants] = field(default_factory=dict)
    in_flight: list[tuple[str, Any]] = field(default_factory=list)
    """Deals that reach the log between two looks: no differences."""

    def __post_init__(self) -> None:
        self.world: World = build_world(self.data)
        _, wanted = self.world.ready_account(self.world.trader(), self.world.node())
        self._step: Callable[[], None] = next(loop.step for loop in self.world.farm.loops if loop.name == "trade-logs")
        self._template = wanted.account_id
        self._compare_all()

    def add_accounts(self, count: int, random: Random) -> None:
        database = self.world.farm.database
        with database.write_as_system() as session:
            account = session.scalars(select(Account).where(Account.id == self._template)).one()
            terminal = session.scalars(select(Terminal).where(Terminal.account_id == account.id)).one()
            seen = session.scalars(
                select(TerminalObservation).where(TerminalObservation.terminal_id == terminal.id)
            ).one()
            assignment = session.scalars(select(Assignment).where(Assignment.terminal_id == terminal.id)).one()
            for number in range(count):
                account_id, terminal_id = new_id("acc"), new_id("ter")
                login = 1_000_000 + number
                put_rows(session, Account, [_copy(account, id=account_id, login=login)])
                put_rows(session, Terminal, [_copy(terminal, id=terminal_id, account_id=account_id)])
                put_rows(session, TerminalObservation, [_copy(seen, terminal_id=terminal_id)])
                put_rows(session, Assignment, [_copy(assignment, id=new_id("asg"), terminal_id=terminal_id)])
                rows = self._book(account_id, terminal_id, random)
                put_rows(session, Deal, [_deal_row(account, account_id, each) for each in rows])

    def _book(self, account_id: str, terminal_id: str, random: Random) -> list[Any]:
        """What the broker has is given to the terminal, what the log has is returned."""
        deals = [_deal(100 + 3 * number, number, self.deals, random) for number in range(self.deals)]
        broker, log, planted = list(deals), {each.ticket: each for each in deals}, set()
        for kind, each in zip(_KINDS, random.sample(deals, min(len(_KINDS), len(deals))), strict=False):
            if random.random() < 0.5:
                continue
            match kind:
                case "missing" | "late" | "manual":
                    del log[each.ticket]
                    planted.add(("deal", "missing_here", each.ticket))
                    if kind == "manual":
                        broker[broker.index(each)] = _changed(each, reason=0, magic=0)
                case "doubled":
                    broker.append(each)
                    planted.add(("deal", "doubled", each.ticket))
                case "edited":
                    broker[broker.index(each)] = _changed(each, swap=each.swap - 1.25, price=each.price + 0.5)
                    planted.add(("deal", "edited", each.ticket))
                case "withdrawn":
                    broker.remove(each)
                    planted.add(("deal", "missing_there", each.ticket))
                case "in_flight":
                    del log[each.ticket]
                    self.in_flight.append((account_id, each))
        terminal = self.world.door.terminals[terminal_id] = FakeTerminal()
        terminal.deals = sorted(broker, key=lambda each: each.time)
        if random.random() < 0.05:
            terminal.balance = 1e6
            planted.add(("balance", "unbalanced", 0))
        self.planted[account_id] = planted
        return list(log.values())

    def compare(self) -> None:
        """Two looks at every account, between which what is on its way arrives."""
        self._compare_all()
        with self.world.farm.database.write_as_system() as session:
            account = session.scalars(select(Account).where(Account.id == self._template)).one()
            for account_id, each in self.in_flight:
                put_rows(session, Deal, [_deal_row(account, account_id, each)])
        self.in_flight.clear()
        self.world.clock.advance(seconds=31)
        self._compare_all()

    def ask_all(self) -> None:
        """Every account's owner wants a comparison."""
        with self.world.farm.database.write_as_system() as session:
            session.execute(update(Reconciliation).values(requested_at=self.world.clock.now()))
        self.world.clock.advance(seconds=1)

    def _compare_all(self) -> None:
        while self._waiting():
            self._step()

    def _waiting(self) -> bool:
        with self.world.farm.database.read_as_system() as session:
            every = timedelta(hours=self.world.farm.settings.reconcile_hours)
            return bool(book_rows.due_for_comparison(session, self.world.clock.now(), every, 1))

    def found(self) -> dict[str, Counter[tuple[str, str, int]]]:
        """By account, how often each difference is written down."""
        found: dict[str, Counter[tuple[str, str, int]]] = {}
        with self.world.farm.database.read_as_system() as session:
            for each in session.scalars(select(BookDifference)):
                found.setdefault(each.account_id, Counter())[(each.subject, each.kind, each.ticket)] += 1
        return found

    def rows_read(self) -> int:
        return sum(terminal.read_rows for terminal in self.world.door.terminals.values())

    def unfinished(self) -> int:
        """Accounts whose comparison is not over, or failed."""
        with self.world.farm.database.read_as_system() as session:
            rows = session.scalars(select(Reconciliation).where(Reconciliation.account_id != self._template))
            return sum(row.finished_at is None or bool(row.problem) or row.look_again_at is not None for row in rows)

    def close(self) -> None:
        self.world.farm.stop()


@dataclass
class Count:
    """What a run has come to."""

    accounts: int = 0
    planted: int = 0
    found: int = 0
    repeated: int = 0
    false_alarms: int = 0
    not_found: int = 0
    noise: int = 0
    """Differences that a second comparison added."""
    unfinished: int = 0
    rows: int = 0
    """Deals of the brokers' books."""
    rows_read: int = 0

    @property
    def clean(self) -> bool:
        return not (self.repeated or self.false_alarms or self.not_found or self.noise or self.unfinished)

    def add(self, scene: Scene) -> None:
        """Judge one scene after its first comparison, and make the second."""
        found = scene.found()
        for account_id, planted in scene.planted.items():
            seen = found.get(account_id, Counter())
            self.accounts += 1
            self.planted += len(planted)
            self.found += len(planted & seen.keys())
            self.not_found += len(planted - seen.keys())
            self.false_alarms += len(seen.keys() - planted)
            self.repeated += sum(times - 1 for times in seen.values())
        self.rows += scene.deals * len(scene.planted)
        self.rows_read += scene.rows_read()
        self.unfinished += scene.unfinished()
        before = sum(map(Counter.total, found.values()))
        scene.ask_all()
        scene.compare()
        self.noise += sum(map(Counter.total, scene.found().values())) - before
        self.unfinished += scene.unfinished()


_KINDS = ("missing", "late", "manual", "doubled", "edited", "withdrawn", "in_flight")


def _deal(ticket: int, number: int, of: int, random: Random) -> Any:
    """Over two years of the broker's time."""
    at = 1_650_000_000 + number * 24 * MONTH // of
    return filled(
        TradeDeal,
        ticket=ticket,
        order=ticket + 1,
        time=at,
        time_msc=at * 1000 + random.randrange(1000),
        type=random.randrange(2),
        entry=number % 2,
        magic=7,
        position_id=ticket - 3 * (number % 2),
        reason=3,
        volume=random.randrange(1, 100) / 100,
        price=round(random.uniform(1, 2), 5),
        commission=-random.randrange(100) / 100,
        swap=-random.randrange(100) / 100,
        profit=random.randrange(-10_000, 10_000) / 100,
        symbol="EURUSD",
    )


def _changed(deal: Any, **changes: Any) -> Any:
    return filled(TradeDeal, **{**deal._asdict(), **changes})


def _copy(row: Any, **changes: Any) -> dict[str, Any]:
    columns = {each.key: getattr(row, each.key) for each in inspect(type(row)).column_attrs}
    return {**columns, **changes}


def _deal_row(account: Account, account_id: str, deal: Any) -> dict[str, Any]:
    return {
        "id": new_id("dea"),
        "tenant_id": account.tenant_id,
        "account_id": account_id,
        "ticket": deal.ticket,
        "order_ticket": deal.order,
        "position_ticket": deal.position_id,
        "symbol": deal.symbol,
        "type": deal.type,
        "entry": deal.entry,
        "reason": deal.reason,
        "volume": deal.volume,
        "price": deal.price,
        "profit": money(deal.profit),
        "commission": money(deal.commission),
        "swap": money(deal.swap),
        "fee": money(deal.fee),
        "magic": deal.magic,
        "comment": "",
        "external_id": "",
        "broker_time_msc": deal.time_msc,
        "epoch": 1,
        "recorded_at": START,
    }
