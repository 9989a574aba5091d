"""Make the equity curves coarser as they age."""

from __future__ import annotations

from datetime import timedelta

from control_plane.clock import Clock
from control_plane.config import Settings
from control_plane.db.engine import Database
from control_plane.trading import repository
from control_plane.trading.thinning import Tier, to_drop

_ROUNDS_A_DAY = 24 * 60
_LOOK_BACK = timedelta(days=14)
"""Points that came of age within so long are looked at: each account has its turn once a day."""


class EquityThinning:
    """Goes round all accounts, a few in each round."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._tiers = (
            Tier(timedelta(days=settings.equity_five_minutes_after_days), timedelta(minutes=5)),
            Tier(timedelta(days=settings.equity_hours_after_days), timedelta(hours=1)),
            Tier(timedelta(days=settings.equity_days_after_days), timedelta(days=1)),
        )
        self._after = ""

    def run_once(self) -> None:
        with self._database.read_as_system() as session:
            accounts = repository.accounts_with_equity(session, self._after, _ROUNDS_A_DAY)
        self._after = accounts[-1] if accounts else ""
        for account_id in accounts:
            self._thin(account_id)

    def _thin(self, account_id: str) -> None:
        now = self._clock.now()
        with self._database.read_as_system() as session:
            moments = {
                moment
                for tier in self._tiers
                for moment in repository.equity_moments(
                    session, account_id, now - tier.after - _LOOK_BACK, now - tier.after
                )
            }
        dropped = to_drop(moments, self._tiers, now)
        if dropped:
            with self._database.write_as_system() as session:
                repository.drop_equity(session, account_id, dropped)
