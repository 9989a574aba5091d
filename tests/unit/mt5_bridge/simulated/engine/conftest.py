"""Desks to trade at."""

from __future__ import annotations

import pytest

from tests.trading_desk import Desk


@pytest.fixture
def desk() -> Desk:
    """A desk with the usual symbol."""
    return Desk()


@pytest.fixture(scope="session")
def desk_with() -> type[Desk]:
    """Makes desks whose EURUSD differs, or with another balance."""
    return Desk
