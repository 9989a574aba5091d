"""`make rotate-keys-test`: replaces all keys of 100,000 credentials while others read and write them.

Exits with 1 if a single read failed or gave another password than the one that was put last, or if anything is left
under an old key.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import insert

from control_plane.accounts.model import Account
from control_plane.brokers.service import add_server
from control_plane.clock import SystemClock
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.identity.model import Tenant, User
from control_plane.resources import open_database
from control_plane.vault.key_file import KeyFile
from control_plane.vault.rotation import Rotation
from control_plane.vault.service import Vault
from tests.postgres import APPLICATION, running_postgres

TENANTS = 20
_CHUNK = 1000


def tenant_of(number: int) -> str:
    return f"ten_{number % TENANTS}"


@dataclass
class Traffic:
    """Reads and writes that go on during the rotation, each thread with a vault of its own as another process has."""

    database: Database
    key_file: Path
    count: int
    reads: int = 0
    writes: int = 0
    failures: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def read(self, seed: int) -> None:
        chance, vault = random.Random(seed), Vault(KeyFile(self.key_file), SystemClock())
        while not self.ended.is_set():
            number = chance.randrange(self.count)
            try:
                with self.database.read_as_system() as session:
                    found = vault.open_credentials(session, tenant_of(number), f"acc_{number}")
                if found.password != f"password {number} version {found.version}":
                    self.failures.append(f"account {number}: another password")
            except Exception as error:  # noqa: BLE001 - every failed read is a failure of the test
                self.failures.append(f"account {number}: {type(error).__name__}: {error}")
            self.reads += 1

    def write(self, seed: int) -> None:
        chance, vault = random.Random(seed), Vault(KeyFile(self.key_file), SystemClock())
        while not self.ended.wait(0.02):
            number = chance.randrange(self.count)
            try:
                with self.database.write_as_system() as session:
                    version = vault.open_credentials(session, tenant_of(number), f"acc_{number}").version + 1
                    password = f"password {number} version {version}"
                    vault.put_credentials(session, tenant_of(number), f"acc_{number}", password)
            except Exception as error:  # noqa: BLE001 - every failed write is a failure of the test
                self.failures.append(f"account {number}, write: {type(error).__name__}: {error}")
            self.writes += 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--credentials", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true", help="on a Postgres of its own instead of SQLite")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="m5vault") as folder:
        if not chosen.postgres:
            return run(Path(folder), chosen.credentials, None)
        with running_postgres() as server:
            return run(Path(folder), chosen.credentials, server.url(APPLICATION, server.migrated_database()))


def run(folder: Path, count: int, url: str | None) -> int:
    database = open_database(Settings(data=folder, database_url=url))
    masters = KeyFile.create(folder / "master.key")
    vault = Vault(masters, SystemClock())
    took = _timed(lambda: _fill(database, vault, count))
    print(f"{count} credentials of {TENANTS} tenants sealed in {took:.1f} s")
    traffic = Traffic(database, folder / "master.key", count)
    threads = [threading.Thread(target=traffic.read, args=(1,)), threading.Thread(target=traffic.read, args=(2,))]
    threads.append(threading.Thread(target=traffic.write, args=(3,)))
    for thread in threads:
        thread.start()
    try:
        left = _rotate_everything(Rotation(database, vault, masters), traffic)
    finally:
        traffic.ended.set()
        for thread in threads:
            thread.join()
    database.close()
    print(f"meanwhile {traffic.reads} reads and {traffic.writes} writes, failed {len(traffic.failures)}")
    for each in traffic.failures[:10]:
        print(f"  {each}")
    return 1 if traffic.failures or left or not traffic.reads or not traffic.writes else 0


def _rotate_everything(rotation: Rotation, traffic: Traffic) -> int:
    """Returns how much is left under old keys."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more

    rotation.start_data_key_rotation()
    reseal = _timed(lambda: rotation.reseal(count))
    print(f"data keys: {done} credentials sealed anew in {reseal:.1f} s ({done / reseal:.0f}/s), reads {traffic.reads}")
    rotation.start_master_rotation()
    rewrap = _timed(lambda: rotation.rewrap(count))
    unretired = rotation.retire_masters()
    progress = rotation.progress()
    print(f"master key: rewrapped {sum(progress.wrapped_by_master.values())} keys in {rewrap:.2f} s, old one retired")
    left = progress.sealed_with_older_keys + len(unretired)
    print(f"left under old keys: {left}")
    return left


def _fill(database: Database, vault: Vault, count: int) -> None:
    now = SystemClock().now()
    with database.write_as_system() as session:
        add_server(session, SystemClock(), "Demo", "MT5 Farm", None)
        for number in range(TENANTS):
            tenant = f"ten_{number}"
            session.add(Tenant(id=tenant, kind="broker", name=tenant, created_at=now))
            session.flush()
            session.add(
                User(
                    id=f"usr_{number}",
                    tenant_id=tenant,
                    email=f"{number}@example.com",
                    display_name="",
                    role="trader",
                    password_hash="",
                    created_at=now,
                )
            )
    for first in range(0, count, _CHUNK):
        with database.write_as_system() as session:
            numbers = range(first, min(first + _CHUNK, count))
            session.execute(insert(Account), [_account(number, now) for number in numbers])
            for number in numbers:
                vault.put_credentials(session, tenant_of(number), f"acc_{number}", f"password {number} version 1")


def _account(number: int, now: object) -> dict[str, object]:
    return {
        "id": f"acc_{number}",
        "tenant_id": tenant_of(number),
        "user_id": f"usr_{number % TENANTS}",
        "label": "",
        "login": number,
        "server": "Demo",
        "created_at": now,
    }


def _timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
