"""Ask for backtests, show them, call them off and delete them."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy.orm import Session

from control_plane.access.market import TIMEFRAMES
from control_plane.accounts.service import require_account
from control_plane.audit.service import Audit, Deed
from control_plane.backtests import repository
from control_plane.backtests.model import Backtest
from control_plane.backtests.schemas import BacktestOut, CreateBacktest
from control_plane.backtests.state import OPEN
from control_plane.bots.strategies import check_parameters
from control_plane.clock import Clock
from control_plane.errors import ConflictError, NotFoundError, TooManyRequestsError, invalid_field
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from mt5_bridge.strategies import registry
from mt5_bridge.strategies.backtest.search_space import SearchError, combinations, values_between

_MOST_OPEN = 5
_MOST_COMBINATIONS = 2000


class Backtests:
    def __init__(self, outbox: Outbox, audit: Audit, clock: Clock) -> None:
        self._outbox = outbox
        self._audit = audit
        self._clock = clock

    def create(self, session: Session, owner: Owner, wish: CreateBacktest) -> Backtest:
        """Queue one. Raises NotFoundError, InvalidInputError, or TooManyRequestsError for a sixth at once."""
        account = require_account(session, owner, wish.account_id)
        if wish.timeframe not in TIMEFRAMES:
            raise invalid_field("timeframe", f"There is no timeframe '{wish.timeframe}'.", code="unknown_timeframe")
        parameters = check_parameters(wish.strategy, wish.parameters)
        ranges = _checked_ranges(wish, parameters)
        if wish.walk_steps and not ranges:
            raise invalid_field("walk_steps", "Walking forward needs parameters to search.", code="no_ranges")
        if repository.count_open(session, owner) >= _MOST_OPEN:
            raise TooManyRequestsError("Please wait for your other backtests to end.", retryable=True, retry_after=30)
        now = self._clock.now()
        backtest = Backtest(
            id=new_id("bte"),
            tenant_id=owner.tenant_id,
            account_id=account.id,
            user_id=owner.user_id,
            strategy=wish.strategy,
            symbol=wish.symbol,
            timeframe=wish.timeframe,
            bars=wish.bars,
            volume=wish.volume,
            parameters=parameters,
            terms={
                "deposit": str(wish.deposit),
                "leverage": wish.leverage,
                "commission": str(wish.commission),
                "spread": wish.spread,
            },
            ranges=ranges,
            objective=wish.objective,
            walk_steps=wish.walk_steps,
            created_at=now,
            state="queued",
            progress=0.0,
            problem="",
            attempts=0,
            alive_until=now,
        )
        session.add(backtest)
        session.flush()
        facts = {"account": account.id, "strategy": wish.strategy, "symbol": wish.symbol}
        self._audit.record(
            session, owner.tenant_id, Deed(owner.user_id, "create_backtest", backtest.id, "", after=facts)
        )
        self._outbox.put(session, JobKind.RUN_BACKTEST, backtest.id)
        return backtest

    def cancel(self, session: Session, owner: Owner, backtest_id: str) -> Backtest:
        """Wish that it ends; whoever runs it sees to that. Once more is nothing."""
        backtest = require_backtest(session, owner, backtest_id)
        if backtest.state in OPEN and backtest.cancel_asked_at is None:
            backtest.cancel_asked_at = self._clock.now()
            self._audit.record(session, owner.tenant_id, Deed(owner.user_id, "cancel_backtest", backtest.id, ""))
        return backtest

    def delete(self, session: Session, owner: Owner, backtest_id: str) -> None:
        """Raises ConflictError while it has not ended."""
        backtest = require_backtest(session, owner, backtest_id)
        if backtest.state in OPEN:
            raise ConflictError("Cancel the backtest before you delete it.", code="backtest_not_ended")
        repository.delete_whole(session, backtest)
        self._audit.record(session, owner.tenant_id, Deed(owner.user_id, "delete_backtest", backtest_id, ""))


def require_backtest(session: Session, owner: Owner, backtest_id: str) -> Backtest:
    """Raises NotFoundError for one that is not this user's."""
    backtest = repository.owned(session, owner, backtest_id)
    if backtest is None:
        raise NotFoundError("There is no such backtest.", code="backtest_not_found")
    return backtest


def present(backtest: Backtest) -> BacktestOut:
    return BacktestOut.model_validate(
        {name: getattr(backtest, name) for name in BacktestOut.model_fields if name != "cancelling"}
        | {"cancelling": backtest.state in OPEN and backtest.cancel_asked_at is not None}
    )


def _checked_ranges(wish: CreateBacktest, parameters: dict[str, Any]) -> dict[str, list[float]]:
    """Values to try by parameter. Raises InvalidInputError, naming the range that is wrong."""
    ranges: dict[str, list[float]] = {}
    known = {parameter.name for parameter in registry.BUILT_IN[wish.strategy].parameters}
    for name, one in wish.ranges.items():
        if name not in known:
            raise invalid_field(f"ranges.{name}", f"The strategy has no parameter '{name}'.", code="invalid_ranges")
        try:
            ranges[name] = values_between(one.first, one.last, one.step)
        except SearchError as error:
            raise invalid_field(f"ranges.{name}", f"{error}.", code="invalid_ranges") from error
    if ranges:
        create = functools.partial(registry.create, wish.strategy)
        try:
            combinations(create, parameters, ranges, most=_MOST_COMBINATIONS)
        except SearchError as error:
            raise invalid_field("ranges", f"{error}.", code="invalid_ranges") from error
    return ranges
