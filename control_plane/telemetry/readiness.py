"""Whether this process can do its work now: what stands in the way, in sentences for those who run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.db.migrate import newest_revision
from control_plane.errors import UnavailableError
from control_plane.loops import Loop
from control_plane.telemetry import repository

OUTBOX_PATIENCE = timedelta(minutes=5)
"""A job that is due for longer is not being carried out."""
_ROUNDS = 3
_FRESH_SECONDS = 2.0
"""Answers are shared for so long: whoever asks often costs no more than who asks now and then."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Verdict:
    """Empty where all is well: check name to what is wrong."""

    problems: dict[str, str]
    warnings: dict[str, str] = field(default_factory=dict)
    """What works less well than it should, and is no reason to send requests elsewhere."""

    @property
    def ready(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class LoopRounds:
    """Of one loop that has been started. Seconds of a clock that only runs forward."""

    name: str
    every: float
    patience: float
    """How long one round may take."""
    since: float
    """When the last round ended well; the start, as long as none has."""

    @property
    def limit(self) -> float:
        """Longer than so many seconds without a good round is too long."""
        return _ROUNDS * self.every + self.patience


def late_loops(loops: Sequence[LoopRounds], now: float) -> str:
    """Names the loops that have not ended a round well for several of their intervals; empty when all have."""
    late = [each for each in loops if now - each.since > each.limit]
    return ", ".join(f"{each.name} for {now - each.since:.0f} s" for each in late)


def stuck_outbox(oldest_due: datetime | None, now: datetime) -> str:
    """`oldest_due` is when the job that waits longest was to run."""
    if oldest_due is None or now - oldest_due <= OUTBOX_PATIENCE:
        return ""
    return f"a job waits for {(now - oldest_due).total_seconds():.0f} s"


def schema_problem(found: str | None, newest: str) -> str:
    return "" if found == newest else f"the schema is {found}, this process is made for {newest}"


class Readiness:
    """Asks database and loops, at most every two seconds. Safe to call from any thread."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        loops: Sequence[Loop],
        seconds: Callable[[], float] = time.monotonic,
        warnings: Mapping[str, Callable[[], str]] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._loops = loops
        self._seconds = seconds
        self._warnings = warnings or {}
        self._newest = newest_revision()
        self._asking = threading.Lock()
        self._asked_at = -_FRESH_SECONDS
        self._verdict = Verdict({})

    def verdict(self) -> Verdict:
        with self._asking:
            now = self._seconds()
            if now - self._asked_at >= _FRESH_SECONDS:
                fresh = self._ask(now)
                if fresh.problems.keys() != self._verdict.problems.keys():
                    _log.warning("readiness_changed", ready=fresh.ready, **fresh.problems)
                self._verdict, self._asked_at = fresh, self._seconds()
            return self._verdict

    def rounds(self) -> list[LoopRounds]:
        """Of the loops that run in this process."""
        return [
            LoopRounds(loop.name, loop.seconds, loop.patience_seconds, loop.round_ended_at)
            for loop in self._loops
            if loop.round_ended_at is not None
        ]

    def _ask(self, now: float) -> Verdict:
        problems = {"loops": late_loops(self.rounds(), now)}
        try:
            problems |= self._ask_database()
        except UnavailableError:
            problems["database"] = "cannot be written: it is busy"
        except SQLAlchemyError as error:
            # Its text may name hosts and users; the class says whether it is down, full or locked.
            problems["database"] = f"cannot be written: {_cause(error)}"
        warnings = {part: told for part, tell in self._warnings.items() if (told := tell())}
        return Verdict({check: problem for check, problem in problems.items() if problem}, warnings)

    def _ask_database(self) -> dict[str, str]:
        with self._database.write_as_system() as session:
            if self._database.is_sqlite:
                # A number that nobody uses, but writing it takes room on the disk as every row does.
                session.execute(text("PRAGMA user_version = 1"))
            elif session.scalar(text("SELECT current_setting('transaction_read_only')")) == "on":
                return {"database": "cannot be written: the server is a read-only replica"}
            else:
                session.execute(text("SELECT pg_current_xact_id()"))
            return {
                "migrations": schema_problem(_revision(session), self._newest),
                "outbox": stuck_outbox(repository.oldest_due(session), self._clock.now()),
            }


def _revision(session: Session) -> str | None:
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _cause(error: SQLAlchemyError) -> str:
    return type(getattr(error, "orig", None) or error).__name__
