"""What a bus must do. It carries ids only: who is told of a change reads the truth from the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Topic(StrEnum):
    ACCOUNT = "account"
    BOT = "bot"
    DEAL = "deal"
    ORDER = "order"
    GENERATION = "generation"
    """The desired snapshot of a node has changed."""


@dataclass(frozen=True)
class Change:
    """Something committed. `user_id` and `account_id` are empty where they mean nothing."""

    topic: Topic
    subject_id: str
    user_id: str = ""
    account_id: str = ""


class Subscription(Protocol):
    async def next(self, timeout_seconds: float) -> list[Change] | None:
        """Changes since the last call, equal ones once; empty after the time-out.

        None once it is over: the bus is closed, or changes were missed and everything has to be read anew.
        """
        ...

    def close(self) -> None: ...


class Bus(Protocol):
    def publish(self, change: Change) -> None:
        """Tell whoever listens. Callable from any thread; never blocks and never fails."""
        ...

    def subscribe(self, accepts: Callable[[Change], bool]) -> Subscription:
        """Listen from now on. Call it inside the event loop that will wait."""
        ...

    def close(self) -> None:
        """End all waiting, for a quick shutdown."""
        ...
