"""Many terminals get places at once: `python -m tests.benchmarks.placement [--on postgres|sqlite]`.

Workers are processes, each a control plane of its own on the same database, that all place whoever waits. By default
8 place 10,000 terminals on 1,000 nodes of 10 slots each, so that the last one finds the last slot. The nodes are in two
pools, one that spreads and one that packs; a part of them is kept for a tenant. Half of the accounts are with real
brokers of which the same address should not be shared. Counted afterwards, in the database: terminals without a place,
terminals with two, nodes above their slots or their memory, and places on nodes that are not for them. CPU is what the
workers took together, their start included: on a busy machine the seconds say little.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import insert, text

from control_plane.accounts.model import Account
from control_plane.brokers.model import BrokerServer
from control_plane.config import Settings
from control_plane.container import Farm, build_farm
from control_plane.fleet.model import Node
from control_plane.identity.model import Tenant, User
from control_plane.placement.model import Pool
from control_plane.terminals.model import Terminal
from tests.postgres import APPLICATION, running_postgres

GOAL_SECONDS = 60.0
_GIB = 1 << 30
_USERS = 500


@dataclass(frozen=True)
class Size:
    terminals: int
    nodes: int
    slots: int
    workers: int


@dataclass(frozen=True)
class Outcome:
    """Everything but the seconds and the placed must be 0."""

    seconds: float
    cpu_seconds: float
    """Of all workers, their start included; without the database's."""
    placed: int
    waiting: int
    twice: int
    above_slots: int
    above_memory: int
    misplaced: int

    @property
    def wrong(self) -> int:
        return self.waiting + self.twice + self.above_slots + self.above_memory + self.misplaced


@contextmanager
def database_url(kind: str) -> Iterator[str | None]:
    """None: SQLite in the farm's folder."""
    if kind == "sqlite":
        yield None
        return
    with running_postgres() as server:
        yield server.url(APPLICATION, server.migrated_database())


def fill(farm: Farm, size: Size) -> None:
    """Nodes with all slots free, and terminals that wait."""
    now = farm.clock.now()
    with farm.database.write_as_system() as session:
        operator = farm.identity.bootstrap(session).id
        session.add(Tenant(id="ten_renter", kind="broker", name="Renter", created_at=now))
        session.add(Pool(name="dense", strategy="pack", labels={"disk": "ssd"}, terminal_memory=None, changed_at=now))
        for name, address in (("Simulated", "127.0.0.1:1"), ("Real-One", None), ("Real-Two", None)):
            session.add(BrokerServer(name=name, company=name, simulated_address=address, updated_at=now))
        session.flush()

        users = [("ten_renter" if number % 10 == 0 else operator) for number in range(_USERS)]
        session.execute(
            insert(User),
            [
                {
                    "id": f"usr_{number}",
                    "tenant_id": tenant,
                    "email": f"{number}@example.com",
                    "display_name": "Somebody",
                    "role": "trader",
                    "password_hash": "",
                    "created_at": now,
                }
                for number, tenant in enumerate(users)
            ],
        )
        session.execute(insert(Node), [_node(operator, number, size, now) for number in range(size.nodes)])
        accounts, terminals = [], []
        for number in range(size.terminals):
            user = number % _USERS
            owner = {"tenant_id": users[user], "created_at": now}
            account = {"id": f"acc_{number:08}", "user_id": f"usr_{user}", "label": "a", "login": number + 1}
            accounts.append(
                {**owner, **account, "server": ("Simulated", "Real-One", "Simulated", "Real-Two")[number % 4]}
            )
            wish: dict[str, object] = {
                "wanted_pool": "dense" if number % 5 == 1 else "",
                "wanted_region": "",
                "wanted_labels": {},
            }
            state = {"intent": "running", "hold": "none", "last_epoch": 0, "placement_note": "", "changed_at": now}
            terminals.append({**owner, **wish, **state, "id": f"ter_{number:08}", "account_id": account["id"]})
        session.execute(insert(Account), accounts)
        session.execute(insert(Terminal), terminals)


def _node(operator: str, number: int, size: Size, now: object) -> dict[str, object]:
    """Every fifth is in the pool that packs, every tenth kept for the tenant that rents."""
    return {
        "id": f"nod_{number:08}",
        "tenant_id": operator,
        "name": f"node-{number}",
        "state": "online",
        "identity_key": "",
        "sealing_key": "",
        "gateway_address": "127.0.0.1:1",
        "runtimes": ["simulated", "wine_container"],
        "slots": size.slots,
        "platform": "linux",
        "enrolled_at": now,
        "identity_expires_at": now,
        "last_seen_at": now,
        "boot_id": "",
        "superseded_boot_id": "",
        "sequence": 0,
        "generation": 1,
        "report": {"memory_total": 16 * _GIB, "memory_available": 15 * _GIB, "pressure": []},
        "pool": "dense" if number % 5 == 1 else "default",
        "labels": {"disk": "ssd"} if number % 5 == 1 else {},
        "dedicated_tenant_id": "ten_renter" if number % 10 == 0 else None,
        "seen_from": f"198.18.{number // 250}.{number % 250}",
    }


def work(data: Path, url: str | None, start: Barrier) -> None:
    logging.disable(logging.WARNING)
    farm = build_farm(Settings(data=data, database_url=url))
    place = next(loop.step for loop in farm.loops if loop.name == "placement")
    start.wait()
    place()
    start.wait()
    farm.stop()


def run(folder: Path, kind: str, size: Size) -> Outcome:
    with ExitStack() as ends:
        url = ends.enter_context(database_url(kind))
        farm = build_farm(Settings(data=folder / "farm", database_url=url))
        ends.callback(farm.stop)
        fill(farm, size)
        farm.database.close()  # the workers are forked; no connection may be shared
        processes = multiprocessing.get_context("spawn")
        start = processes.Barrier(size.workers + 1)
        workers = [
            processes.Process(target=work, args=(folder / "farm", url, start), daemon=True) for _ in range(size.workers)
        ]
        for worker in workers:
            worker.start()
        start.wait(timeout=120)
        began = time.monotonic()
        start.wait(timeout=600)
        seconds = time.monotonic() - began
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for worker in workers:
            worker.join(60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return count(farm, size, seconds, cpu_seconds)


_MISPLACED = (
    "SELECT count(*) FROM assignments a JOIN nodes n ON n.id = a.node_id JOIN terminals t ON t.id = a.terminal_id "
    "WHERE (n.dedicated_tenant_id IS NOT NULL AND n.dedicated_tenant_id <> a.tenant_id) "
    "OR n.pool <> CASE WHEN t.wanted_pool = '' THEN 'default' ELSE t.wanted_pool END"
)


def count(farm: Farm, size: Size, seconds: float, cpu_seconds: float) -> Outcome:
    """From the rows alone, without the code that placed them."""
    with farm.database.read_as_system() as session:

        def number(query: str) -> int:
            return int(session.execute(text(query)).scalar_one())

        full = "SELECT count(*) FROM (SELECT node_id FROM assignments GROUP BY node_id HAVING {}) AS x"
        placed = number("SELECT count(DISTINCT terminal_id) FROM assignments")
        return Outcome(
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            placed=placed,
            waiting=size.terminals - placed,
            twice=number("SELECT count(*) FROM assignments") - placed,
            above_slots=number(full.format(f"count(*) > {size.slots}")),
            above_memory=number(full.format(f"sum(memory) > {15 * _GIB}")),
            misplaced=number(_MISPLACED),
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=("postgres", "sqlite", "both"), default="both")
    parser.add_argument("--terminals", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=10)
    parser.add_argument("--workers", type=int, default=8)
    asked = parser.parse_args()
    logging.disable(logging.INFO)
    size = Size(asked.terminals, asked.nodes, asked.slots, asked.workers)
    table = Table("database", "terminals", "nodes", "workers", "seconds", "CPU", "waiting", "twice")
    for name in ("above slots", "above memory", "misplaced"):
        table.add_column(name)
    outcomes = []
    for kind in ("postgres", "sqlite") if asked.on == "both" else (asked.on,):
        with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as folder:
            one = run(Path(folder), kind, size)
        outcomes.append(one)
        sizes = (str(size.terminals), str(size.nodes), str(size.workers))
        speed = (f"{one.seconds:.1f} (goal {GOAL_SECONDS:.0f})", f"{one.cpu_seconds:.0f}")
        wrong = (one.waiting, one.twice, one.above_slots, one.above_memory, one.misplaced)
        table.add_row(kind, *sizes, *speed, *map(str, wrong))
    Console().print(table)
    return 0 if all(each.wrong == 0 and each.seconds <= GOAL_SECONDS for each in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
