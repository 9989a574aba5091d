"""Column types that mean the same on SQLite and Postgres."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, DateTime, Dialect
from sqlalchemy.types import TypeDecorator

_MONEY_SCALE = Decimal(10) ** 8
_MONEY_LIMIT = Decimal(2**63 - 1) / _MONEY_SCALE


def money(amount: float) -> Decimal:
    """An amount as MT5 gives it, exact to eight decimals. Raises ValueError for what cannot be stored."""
    if not math.isfinite(amount) or abs(amount) >= _MONEY_LIMIT:
        raise ValueError("not an amount of money that can be stored")
    return Decimal(repr(amount)).quantize(1 / _MONEY_SCALE)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, always in UTC; a naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the database")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Money(TypeDecorator[Decimal]):
    """An exact amount in the account currency, kept as a whole number of 1e-8 units so that SQL can add it up."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else int(value * _MONEY_SCALE)

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        return None if value is None else Decimal(value) / _MONEY_SCALE
