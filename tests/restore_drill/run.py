"""The restore drill: save a farm while it is written to, restore it elsewhere, compare every row.

`python -m tests.restore_drill.run --accounts 50 --samples 4000` prints what it took, on SQLite and on Postgres.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from sqlalchemy import select

from control_plane.accounts.model import Account
from control_plane.audit.verification import verify_database
from control_plane.backup.service import make_backup, restore
from control_plane.clock import SystemClock
from control_plane.config import Settings
from control_plane.container import build_farm
from control_plane.db.engine import Database
from control_plane.resources import master_key_path
from tests.postgres import APPLICATION, OWNER, Server, running_postgres
from tests.restore_drill.farm import Writers, fill, rows_of, written
from tests.unit.control_plane.world import World, build_world

_PASSWORD = "broker-secret"


@dataclass
class Drill:
    """What one drill has shown. Seconds are wall time."""

    kind: str
    rows: int = 0
    audit_rows: int = 0
    passwords: int = 0
    megabytes: float = 0.0
    backup_seconds: float = 0.0
    restore_seconds: float = 0.0
    written_meanwhile: int = 0
    complaints: list[str] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"{self.kind:10} {self.rows:>8} rows back, {self.audit_rows} of the audit trail, "
            f"{self.passwords} passwords opened; "
            f"{self.megabytes:.1f} MB; backup {self.backup_seconds:.2f} s with {self.written_meanwhile} transactions "
            f"written meanwhile, restore {self.restore_seconds:.2f} s; "
            f"{'; '.join(self.complaints) or 'nothing lost, nothing half'}"
        )


@dataclass(frozen=True)
class Databases:
    """Of the farm and to restore into; SQLite where there are none."""

    farm: str | None = None
    restored: str | None = None
    restored_owner: str | None = None


def drill(folder: Path, *, accounts: int, samples: int, threads: int = 2, databases: Databases = Databases()) -> Drill:
    report = Drill("SQLite" if databases.farm is None else "Postgres")
    world = build_world(folder / "farm", database_url=databases.farm)
    try:
        fill(world, accounts, samples)
        writers = Writers(world.farm, threads)
        with writers.at_work():
            _until(lambda: min(writers.committed) > 0)
            before = list(writers.committed)
            began = time.monotonic()
            saved = make_backup(world.farm.settings, folder / "backup", SystemClock())
            report.backup_seconds = time.monotonic() - began
            begun = [number + 1 for number in writers.committed]
        report.megabytes = saved.size / 1e6
        report.written_meanwhile = sum(begun) - threads - sum(before)
        settings = Settings(
            data=folder / "restored",
            database_url=databases.restored,
            database_owner_url=databases.restored_owner,
        )
        began = time.monotonic()
        restore(folder / "backup", settings)
        report.restore_seconds = time.monotonic() - began
        _compare(world, settings, report)
        _check_writers(settings, before, begun, report)
        _look_for_secrets(world, folder / "backup", report)
    finally:
        world.farm.stop()
    return report


def _compare(world: World, settings: Settings, report: Drill) -> None:
    """Row by row, and by opening what is sealed with the master key that the operator has kept."""
    theirs = _database(settings)
    ours, restored = rows_of(world.farm.database), rows_of(theirs)
    theirs.close()
    for table in sorted(ours.keys() | restored.keys()):
        if ours.get(table) != restored.get(table):
            report.complaints.append(f"table {table} differs")
    report.rows = sum(map(len, restored.values()))
    report.audit_rows = len(restored["audit_entries"])
    kept = master_key_path(settings)
    kept.parent.mkdir(mode=0o700)
    shutil.copyfile(master_key_path(world.farm.settings), kept)
    kept.chmod(0o600)
    farm = build_farm(settings)
    with farm.database.read_as_system() as session:
        for account in session.scalars(select(Account)):
            if farm.vault.open_credentials(session, account.tenant_id, account.id).password == _PASSWORD:
                report.passwords += 1
        found = verify_database(session, farm.head_keeper.kept(), farm.audit_key)
    farm.stop()
    report.complaints += [f"audit trail, entry {each.seq}: {each.problem}" for each in found.findings]
    if report.passwords != len(restored["accounts"]):
        report.complaints.append("a password cannot be opened")


def _check_writers(settings: Settings, before: list[int], begun: list[int], report: Drill) -> None:
    """All that was committed before, nothing of what began after, no gap, and each transaction whole."""
    database = _database(settings)
    for writer, counts in enumerate(written(database, len(before))):
        if not before[writer] <= len(counts) <= begun[writer] or sorted(counts) != list(range(1, len(counts) + 1)):
            report.complaints.append(f"writer {writer} has lost transactions")
        if set(counts.values()) != {3}:
            report.complaints.append(f"writer {writer} has half a transaction")
    database.close()


def _look_for_secrets(world: World, backup: Path, report: Drill) -> None:
    key = master_key_path(world.farm.settings).read_bytes().strip()
    for path in backup.rglob("*"):
        if path.is_file() and any(secret in path.read_bytes() for secret in (key, _PASSWORD.encode())):
            report.complaints.append(f"{path.name} holds a secret in the clear")


def _database(settings: Settings) -> Database:
    return Database(settings.database_url or f"sqlite+pysqlite:///{settings.data / 'farm.sqlite3'}")


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the writers do not write")
        time.sleep(0.01)


def _postgres_drill(folder: Path, accounts: int, samples: int) -> Drill:
    with running_postgres() as server:
        return drill(folder, accounts=accounts, samples=samples, databases=databases_of(server))


def databases_of(server: Server) -> Databases:
    """A migrated one, and an empty one."""
    empty = server.empty_database()
    return Databases(
        server.url(APPLICATION, server.migrated_database()), server.url(APPLICATION, empty), server.url(OWNER, empty)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--samples", type=int, default=4000, help="of equity, for each account")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sound = True
    for step in (drill, _postgres_drill):
        folder = Path(tempfile.mkdtemp(prefix="m5drill", dir="/tmp"))
        try:
            report = step(folder, accounts=arguments.accounts, samples=arguments.samples)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(report.line(), flush=True)
        sound = sound and not report.complaints
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
