"""A farm with rows in its tables, people who go on writing, and a way to compare two databases row by row."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import insert as insert_into
from sqlalchemy import inspect, select, table, text
from sqlalchemy.orm import Session

from control_plane.audit.model import AuditChain, AuditEntry
from control_plane.audit.service import Deed
from control_plane.container import Farm
from control_plane.db.engine import Database
from control_plane.fleet.model import SeenRequest
from control_plane.trading.model import EquitySample
from tests.postgres import see_everything
from tests.unit.control_plane.world import START, World, deal_body, event

WRITER = "drill-writer"
_NOT_OF_WRITERS = {
    AuditChain.__tablename__: "1 = 0",  # their heads go on with every deed; the drill verifies the chains instead
    AuditEntry.__tablename__: f"actor <> '{WRITER}'",
    SeenRequest.__tablename__: f"token_id NOT LIKE '{WRITER}/%'",
}


def fill(world: World, accounts: int, samples: int) -> None:
    """Traders with connected accounts, nodes, deals, deeds of operators, and `samples` of equity for each account."""
    trader, operator = world.trader(), world.operator()
    node = world.node(slots=accounts)
    for number in range(accounts):
        account_id, wanted = world.ready_account(trader, node, 5001 + number)
        node.deliver(*(event(wanted, f"evt-{number}-{deal}", deal_body(7000 + deal)) for deal in range(3)))
        add_samples(world, account_id, samples)
    operator.call("POST", f"/nodes/{node.node_id}/cordon", 200, {"reason": "a Ünïcode reason\twith\\marks\n"})


def add_samples(world: World, account_id: str, number: int) -> None:
    with world.farm.database.write_as_system() as session:
        tenant_id = tenant_of(session)
        rows = [
            {"account_id": account_id, "tenant_id": tenant_id, "at": START + timedelta(minutes=minute)}
            | {"broker_time": minute, "balance": Decimal(10_000 + minute), "equity": Decimal("9999.87654321")}
            for minute in range(1, number + 1)
        ]
        session.execute(insert_into(EquitySample), rows)


def tenant_of(session: Session) -> str:
    return str(session.scalar(text("SELECT id FROM tenants")))


class Writers:
    """Threads that write transactions of three rows in two tables, numbered, until they are told to stop."""

    def __init__(self, farm: Farm, threads: int) -> None:
        self._farm = farm
        self._stop = threading.Event()
        self.committed = [0] * threads
        """The highest number of each writer that is known to be committed."""
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(threads)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _write(self, writer: int) -> None:
        while not self._stop.is_set():
            number = self.committed[writer] + 1
            with self._farm.database.write_as_system() as session:
                tenant_id = tenant_of(session)
                for _ in range(2):
                    self._farm.audit.record(session, tenant_id, Deed(WRITER, "write", f"{writer}", f"{number}"))
                session.add(SeenRequest(token_id=f"{WRITER}/{writer}/{number}", expires_at=START))
            self.committed[writer] = number


def written(database: Database, writers: int) -> list[Counter[int]]:
    """For each writer: how many rows there are of each of its transactions."""
    found: list[Counter[int]] = [Counter() for _ in range(writers)]
    with database.read_as_system() as session:
        deeds = select(AuditEntry.subject_id, AuditEntry.reason).where(AuditEntry.actor == WRITER)
        for writer, number in session.execute(deeds):
            found[int(writer)][int(number)] += 1
        for token_id in session.scalars(select(SeenRequest.token_id).where(SeenRequest.token_id.startswith(WRITER))):
            _, writer, number = token_id.split("/")
            found[int(writer)][int(number)] += 1
    return found


def rows_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table in the order of its text, but for what the writers of the drill add."""
    inspector = inspect(database.engine)
    content = {}
    with database.engine.connect() as connection:
        see_everything(connection)
        for name in sorted(inspector.get_table_names()):
            columns = sorted(column["name"] for column in inspector.get_columns(name))
            query = select(*(text(f'"{column}"') for column in columns)).select_from(table(name))
            if name in _NOT_OF_WRITERS:
                query = query.where(text(_NOT_OF_WRITERS[name]))
            rows = [tuple(_plain(value) for value in row) for row in connection.execute(query)]
            content[name] = sorted(rows, key=repr)
    return content


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
