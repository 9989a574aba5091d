"""Deletes what is of no more use: expired sessions and signatures, finished jobs, old log lines and bundles."""

from __future__ import annotations

from datetime import timedelta

from control_plane.access import repository as access_repository
from control_plane.accounts import repository as accounts_repository
from control_plane.alerts import repository as alerts_repository
from control_plane.bots import repository as bots_repository
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.fleet import repository as fleet_repository
from control_plane.idempotency import repository as idempotency_repository
from control_plane.idempotency.service import REMEMBERED
from control_plane.identity import attempt_lanes, passkey_rows
from control_plane.identity import repository as identity_repository
from control_plane.identity.state import LONGEST_MEMORY
from control_plane.jobs import repository as jobs_repository
from control_plane.notifications import repository as mail_repository
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.bundles import Bundles
from control_plane.vault import repository as vault_repository

_REFUSALS_KEPT = timedelta(days=1)
_JOBS_KEPT = timedelta(days=7)
_BUNDLES_KEPT = timedelta(days=14)
_BOT_LOG_KEPT = timedelta(days=30)
_TESTS_KEPT = timedelta(days=1)
_TRANSITIONS_KEPT = timedelta(days=90)
_NOTICES_KEPT = timedelta(days=90)
_DELIVERIES_KEPT = timedelta(days=30)


class Retention:
    def __init__(self, database: Database, bundles: Bundles, clock: Clock) -> None:
        self._database = database
        self._bundles = bundles
        self._clock = clock

    def run_once(self) -> None:
        now = self._clock.now()
        with self._database.write_as_system() as session:
            access_repository.delete_expired_tickets(session, now)
            fleet_repository.delete_expired_requests(session, now)
            identity_repository.delete_stale(session, now)
            passkey_rows.delete_expired_challenges(session, now)
            attempt_lanes.delete_older(session, now - LONGEST_MEMORY)
            mail_repository.delete_expired(session, now)
            idempotency_repository.delete_older(session, now - REMEMBERED)
            jobs_repository.delete_done(session, now - _JOBS_KEPT)
            bots_repository.delete_old_log_lines(session, now - _BOT_LOG_KEPT)
            vault_repository.delete_old_refusals(session, now - _REFUSALS_KEPT)
            accounts_repository.delete_old_tests(session, now - _TESTS_KEPT)
            terminals_repository.delete_transitions(session, now - _TRANSITIONS_KEPT)
            alerts_repository.delete_older(session, now - _NOTICES_KEPT, now - _DELIVERIES_KEPT)
        self._bundles.delete_older(now - _BUNDLES_KEPT)
