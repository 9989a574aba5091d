"""What a bus must do. It carries ids only: who is told of a change reads the truth from the database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Topic(StrEnum):
    ACCOUNT = "account"
    BOT = "bot"
    DEAL = "deal"
    ORDER = "order"
    GUARD = "guard"
    """Limits of an account, what its guard says, or how far a kill switch has come there."""
    NOTICE = "notice"
    """Something that a user is told."""
    COPIER = "copier"
    GENERATION = "generation"
    """The desired snapshot of a node has changed."""


@dataclass(frozen=True)
class Change:
    """Something committed. `user_id` and `account_id` are empty where they mean nothing."""

    topic: Topic
    subject_id: str
    user_id: str = ""
    account_id: str = ""

    @property
    def audience(self) -> str:
        """Id of the user that it concerns, or of the node."""
        return self.user_id or self.subject_id


@dataclass(frozen=True)
class Batch:
    """What a listener has not been told yet."""

    changes: tuple[tuple[str, Change], ...]
    """In the order of their positions, which come first; of equal changes only the last."""
    position: str
    """Up to here everything has been told. Opaque; the same in all processes of a farm."""
    gap: bool
    """Something before was missed: everything has to be read anew."""


class Subscription(Protocol):
    async def next(self, timeout_seconds: float) -> Batch | None:
        """What is new since the last call; after the time-out, a batch without changes. None once the bus is closed."""
        ...

    def close(self) -> None: ...


class Bus(Protocol):
    @property
    def problem(self) -> str:
        """Why changes of other processes are not heard at the moment; empty while they are."""
        ...

    def publish(self, change: Change) -> None:
        """Tell whoever listens. Callable from any thread; never blocks and never fails."""
        ...

    def subscribe(self, audience: str, after: str | None = None) -> Subscription:
        """Listen for what concerns this user or node. Call it inside the event loop that will wait.

        From now on or, with the position of an earlier batch, from there without a gap; the first batch says when that
        position is too old or of another life of the bus.
        """
        ...

    def close(self) -> None:
        """End all waiting, for a quick shutdown."""
        ...
