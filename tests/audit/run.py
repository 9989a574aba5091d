"""`make audit-test`: tampers with a trail of deeds 10,000 times, and counts how often the verification finds it.

Each time on a whole trail: what was done is rolled back afterwards. Exits with 1 unless every single one was found and
the untouched trail was found whole, before and after.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from control_plane.audit.heads import HeadKeeper
from control_plane.audit.service import Audit, Deed
from control_plane.audit.signing import HeadSigner
from control_plane.audit.verification import Head, verify_database
from control_plane.clock import SystemClock
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.identity.model import Tenant
from control_plane.resources import open_database
from control_plane.storage.local import LocalFiles
from control_plane.vault.key_file import KeyFile
from control_plane.vault.service import Vault
from tests.audit.tampering import KINDS, open_to_changes, tamper_with
from tests.postgres import OWNER, running_postgres

TENANTS = 3
DEEDS = 30
"""Of each tenant."""


class _RolledBackError(Exception):
    """Ends a transaction whose work is not wanted."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10_000)
    parser.add_argument("--postgres", action="store_true", help="on a Postgres of its own instead of SQLite")
    chosen = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="m5audit") as folder:
        if not chosen.postgres:
            return _run(Path(folder), chosen.times, open_database(Settings(data=Path(folder))))
        with running_postgres() as server:
            # The owner of the tables, who can do more to them than the farm may.
            return _run(Path(folder), chosen.times, Database(server.url(OWNER, server.migrated_database())))


def _run(folder: Path, times: int, database: Database) -> int:
    public_key, kept = _write_trail(database, folder)
    whole = [_findings(database, kept, public_key, None, 0)]
    started = time.monotonic()
    missed: list[str] = []
    tried: Counter[str] = Counter()
    for number in range(times):
        kind = KINDS[number % len(KINDS)]
        tried[kind] += 1
        if not _findings(database, kept, public_key, kind, number):
            missed.append(f"{kind}, seed {number}")
    took = time.monotonic() - started
    whole.append(_findings(database, kept, public_key, None, 0))
    database.close()
    for kind, count in sorted(tried.items()):
        print(f"  {kind:<22}{count:>6}")
    print(
        f"deeds {TENANTS * DEEDS}, tamperings {times}, found {times - len(missed)}, missed {len(missed)}, {took:.0f} s"
    )
    print(f"untouched trail: {whole[0]} findings before, {whole[1]} after")
    for each in missed[:20]:
        print(f"  MISSED {each}")
    return 1 if missed or any(whole) else 0


def _write_trail(database: Database, folder: Path) -> tuple[str, list[Head]]:
    clock = SystemClock()
    with database.write_as_system() as session:
        signer = HeadSigner.load_or_create(session, Vault(KeyFile.create(folder / "master.key"), clock))
        for number in range(TENANTS):
            session.add(Tenant(id=f"ten_{number}", kind="broker", name=f"Broker {number}", created_at=clock.now()))
    keeper = HeadKeeper(database, LocalFiles(folder / "files"), signer.public_key)
    audit = Audit(signer, clock)
    for number in range(DEEDS):
        with database.write_as_system() as session:
            for tenant in range(TENANTS):
                facts = ({"policy": "keep_running"}, {"policy": "self_fence", "number": number})
                deed = Deed(f"usr_{tenant}", "set_lease_policy", f"acc_{number % 7}", "as asked", "", *facts)
                audit.record(session, f"ten_{tenant}", deed)
        if number % 10 == 9:
            keeper.run_once()
    return signer.public_key, keeper.kept()


def _findings(database: Database, kept: list[Head], public_key: str, kind: str | None, seed: int) -> int:
    found = 0

    def look(session: Session) -> None:
        nonlocal found
        if kind is not None:
            open_to_changes(session)
            tamper_with(session, kind, seed)
        found = len(verify_database(session, kept, public_key).findings)
        raise _RolledBackError

    try:
        with database.write_as_system() as session:
            look(session)
    except _RolledBackError:
        pass
    return found


if __name__ == "__main__":
    sys.exit(main())
