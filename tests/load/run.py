"""`make load`: a fleet that reports, users who change what should be and open portals, against one control plane.

With `--processes N` it is N processes that share a Redis, each for its share of the nodes and browsers as behind a
proxy, and one more that runs the background loops.

Exits with 1 when a lease was missed, a request failed or a goal was not reached.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from control_plane.config import Settings
from control_plane.container import build_farm
from control_plane.db.engine import Database
from control_plane.fleet.model import Node
from control_plane.fleet.state import NodeState
from tests.load.figures import Times, growth
from tests.load.fleet import build_fleet
from tests.ports import free_ports
from tests.postgres import APPLICATION, Server, running_postgres
from tests.redis_server import RedisServer, redis_executable

SYNC_P99_SECONDS = 0.25
WRITE_P99_SECONDS = 0.1
SETTLED_SECONDS = 120.0
GROWTH_BYTES_PER_HOUR = 64 << 20
_LOOK_SECONDS = 5.0
_UNLIMITED = "100000/1"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=2500)
    parser.add_argument("--terminals", type=int, default=20, help="on each node")
    parser.add_argument("--browsers", type=int, default=200)
    parser.add_argument("--intents", type=float, default=50, help="a second")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--sync-seconds", type=float, default=10)
    parser.add_argument("--reconnect", action="store_true", help="cut all nodes off at half time")
    parser.add_argument("--processes", type=int, default=1, help="of the control plane")
    parser.add_argument("--sqlite", action="store_true", help="on the embedded database instead of a Postgres")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    if chosen.sqlite and chosen.processes > 1:
        parser.error("several processes need a Postgres: leave out --sqlite")
    with tempfile.TemporaryDirectory(prefix="m5load") as folder:
        if chosen.sqlite:
            return run(chosen, Path(folder), None)
        with running_postgres(durable=True) as server:
            return run(chosen, Path(folder), server)


def run(chosen: argparse.Namespace, data: Path, postgres: Server | None) -> int:
    database = None if postgres is None else postgres.migrated_database()
    database_url = None if postgres is None or database is None else postgres.url(APPLICATION, database)
    started = time.monotonic()
    farm = build_farm(Settings(data=data, database_url=database_url))
    fleet = build_fleet(farm, chosen.nodes, chosen.terminals, max(chosen.browsers, 1))
    ca_pem, url = farm.authority.pem, farm.database.url
    farm.stop()
    if postgres is not None and database is not None:
        postgres.analyse(database)
    print(f"{chosen.nodes} nodes with {chosen.terminals} terminals each written in {time.monotonic() - started:.0f} s")
    with _serving(chosen, data, database_url) as (servers, ports):
        plan = {
            "host": "127.0.0.1",
            "ports": ports,
            "ca_pem": ca_pem,
            "members": [
                {
                    "node_id": member.node_id,
                    "key": base64.b64encode(member.key).decode(),
                    "terminals": [asdict(each) for each in member.terminals],
                }
                for member in fleet.members
            ],
            "visitors": [asdict(each) for each in fleet.visitors],
            "seconds": chosen.minutes * 60,
            "sync_seconds": chosen.sync_seconds,
            "intents_per_second": chosen.intents,
            "seed": chosen.seed,
            "reconnect_at": chosen.minutes * 30 if chosen.reconnect else None,
        }
        watch = Watch(servers, None if postgres is None else psutil.Process(postgres.pid()), url)
        watch.start()
        if postgres is not None and database is not None:
            # Once every node has reported there are rows in tables that had none.
            threading.Timer(chosen.sync_seconds * 1.5, postgres.analyse, [database]).start()
        seen = _generate(plan)
        watch.stop()
    return _report(chosen, seen, watch)


def _generate(plan: Mapping[str, Any]) -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-m", "tests.load.generator"],
        input=json.dumps(plan).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


class Watch:
    """Looks at the control plane from outside while it works."""

    def __init__(self, servers: Sequence[psutil.Process], postgres: psutil.Process | None, url: str) -> None:
        self.servers = servers
        self.postgres = postgres
        self.memory: list[tuple[float, int]] = []
        self.silent = 0
        """The most nodes that were not online at one look."""
        self.processor_seconds = 0.0
        self.database_seconds = 0.0
        """Of processor time, of the database where it has processes of its own."""
        self.wall_seconds = 0.0
        self._database = Database(url)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self._database.close()

    def _look(self) -> None:
        began, before, database_before = time.monotonic(), used(self.servers), self._used_by_database()
        while not self._ended.wait(_LOOK_SECONDS):
            self.memory.append((time.monotonic(), sum(each.memory_info().rss for each in self.servers)))
            with self._database.read_as_system() as session:
                query = select(func.count()).select_from(Node).where(Node.state != NodeState.ONLINE)
                self.silent = max(self.silent, session.scalar(query) or 0)
        self.processor_seconds = used(self.servers) - before
        self.database_seconds = self._used_by_database() - database_before
        self.wall_seconds = time.monotonic() - began

    def _used_by_database(self) -> float:
        return 0.0 if self.postgres is None else used([self.postgres, *self.postgres.children()])


def used(processes: Sequence[psutil.Process]) -> float:
    """Seconds of processor time of these and of their children that have ended."""
    return sum(sum(each.cpu_times()[:4]) for each in processes)


@contextmanager
def _serving(
    chosen: argparse.Namespace, data: Path, database_url: str | None
) -> Iterator[tuple[list[psutil.Process], list[tuple[int, int]]]]:
    """The control plane's processes, and the ports of portal and agent API of each that serves."""
    environment = {
        **os.environ,
        "MT5FARM_REQUESTS_OF_USER": _UNLIMITED,
        "MT5FARM_REQUESTS_OF_TENANT": _UNLIMITED,
        "MT5FARM_REQUESTS_OF_ADDRESS": _UNLIMITED,
        "MT5FARM_STREAMS_OF_TENANT": "100000",
        "MT5FARM_SYNC_SECONDS": str(chosen.sync_seconds),
    }
    if database_url is not None:
        environment["MT5FARM_DATABASE_URL"] = database_url
    first = free_ports(2 * chosen.processes)
    ports = [(first + 2 * number, first + 2 * number + 1) for number in range(chosen.processes)]
    commands = [["serve", "--port", str(portal), "--agent-port", str(agents)] for portal, agents in ports]
    with ExitStack() as running:
        if chosen.processes > 1:
            redis = RedisServer(redis_executable(), data)
            redis.start()
            running.callback(redis.stop)
            environment |= {"MT5FARM_REDIS_URL": redis.url, "MT5FARM_LOOPS": "false"}
            commands.append(["reconcile"])
        yield [running.enter_context(_process(command, data, environment)) for command in commands], ports


@contextmanager
def _process(command: Sequence[str], data: Path, environment: Mapping[str, str]) -> Iterator[psutil.Process]:
    path = data / f"{'-'.join(command)}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "control_plane.cli", *command, "--data", str(data)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(process, path)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while b"ready" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the control plane did not start:\n{log.read_text()}")
        time.sleep(0.1)


def _report(chosen: argparse.Namespace, seen: dict[str, Any], watch: Watch) -> int:
    syncs, writes, watches = (
        Times(seen[each]["seconds"], seen[each]["failures"]) for each in ("syncs", "writes", "watches")
    )
    seconds = chosen.minutes * 60
    grown = growth(watch.memory)
    rows = [
        ("sync p99", f"{syncs.quantile(0.99) * 1000:.0f} ms", "250 ms", syncs.quantile(0.99) <= SYNC_P99_SECONDS),
        ("write p99", f"{writes.quantile(0.99) * 1000:.0f} ms", "100 ms", writes.quantile(0.99) <= WRITE_P99_SECONDS),
        ("nodes silent at once", str(watch.silent), "0", watch.silent == 0),
        ("memory grows", f"{grown / 2**20:.0f} MiB/h", "flat", grown <= GROWTH_BYTES_PER_HOUR),
    ]
    if chosen.reconnect:
        settled = seen["settled_seconds"]
        rows.append(("all nodes back after", f"{settled:.0f} s", "120 s", settled <= SETTLED_SECONDS))
    print(f"{len(syncs.seconds)} syncs ({len(syncs.seconds) / seconds:.0f}/s), p50 {syncs.quantile(0.5) * 1000:.0f} ms")
    print(f"{len(writes.seconds)} writes ({len(writes.seconds) / seconds:.0f}/s), p50 ", end="")
    print(f"{writes.quantile(0.5) * 1000:.0f} ms")
    print(f"{len(watches.seconds)} long polls; {seen['stream_events']} events to {chosen.browsers} browsers")
    print(f"processors: control plane {watch.processor_seconds / watch.wall_seconds:.2f}, ", end="")
    print(f"database {watch.database_seconds / watch.wall_seconds:.2f}, ", end="")
    print(f"generator {seen['processor_seconds'] / seconds:.2f}; ", end="")
    print(f"memory of the control plane {max(size for _, size in watch.memory) / 2**20:.0f} MiB at most")
    for name, failures in (("syncs", syncs.failures), ("writes", writes.failures), ("long polls", watches.failures)):
        if failures:
            print(f"failed {name}: {dict(failures)}")
    for name, found, goal, reached in rows:
        print(f"  {name:22} {found:>12}  goal {goal:>8}  {'reached' if reached else 'MISSED'}")
    failed = bool(writes.failures) or (bool(syncs.failures) and not chosen.reconnect)
    return 1 if failed or not all(reached for *_, reached in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
