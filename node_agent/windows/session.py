"""Where a terminal's programs are started: in the agent's own session, or as the terminal's user through a task."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from node_agent.files import write_atomically
from node_agent.windows.orders import (
    ANSWER_SUFFIX,
    ORDER_SUFFIX,
    Answer,
    Close,
    Launch,
    Order,
    answer_from_text,
    order_to_text,
)
from node_agent.windows.port import ProcessKey, Windows, WindowsCallError
from node_agent.windows.starter import carry_out

_PATIENCE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.05
Wait = Callable[[float], None]


class Session(Protocol):
    """Carries out orders as some user. Methods raise WindowsCallError, OSError."""

    def launch(self, order: Launch) -> ProcessKey:
        """Start a program; it runs in the order's job when this returns."""

    def close(self, order: Close) -> int:
        """Send WM_CLOSE to a process; gives how many windows it has."""


@dataclass(frozen=True)
class OwnSession:
    """The agent's user and session. Windows there cannot be told apart by user, so nothing isolates two terminals."""

    windows: Windows

    def launch(self, order: Launch) -> ProcessKey:
        return _launched(self.windows, order, carry_out(self.windows, order))

    def close(self, order: Close) -> int:
        return _answered(carry_out(self.windows, order)).windows


@dataclass(frozen=True)
class TaskSession:
    """Another user's session, reached through a scheduled task that runs the starter."""

    windows: Windows
    task: str
    user: str
    orders: Path
    wait: Wait = time.sleep
    clock: Callable[[], float] = time.monotonic

    def launch(self, order: Launch) -> ProcessKey:
        return _launched(self.windows, order, self._order(order))

    def close(self, order: Close) -> int:
        return _answered(self._order(order)).windows

    def _order(self, order: Order) -> Answer:
        name = secrets.token_hex(8)
        asked, answer = self.orders / f"{name}{ORDER_SUFFIX}", self.orders / f"{name}{ANSWER_SUFFIX}"
        write_atomically(asked, order_to_text(order).encode())
        try:
            self.windows.run_task(self.task, self.windows.session_of(self.user))
            deadline = self.clock() + _PATIENCE_SECONDS
            while not answer.exists():
                if self.clock() > deadline:
                    raise TimeoutError(f"the task {self.task} has not answered")
                self.wait(_LOOK_SECONDS)
            return answer_from_text(answer.read_text(encoding="utf-8"))
        except ValueError as error:
            raise OSError(f"the task {self.task} has not answered sensibly") from error
        finally:
            asked.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)


def _answered(answer: Answer) -> Answer:
    if answer.error:
        raise OSError(answer.error)
    return answer


def _launched(windows: Windows, order: Launch, answer: Answer) -> ProcessKey:
    """The process of an answer, once it is seen in the job: the user who answers is not trusted to say the truth.

    A program that has ended already is in no job any more; its key then names nothing that runs.
    """
    key = _answered(answer).process
    if key is None:
        raise OSError("the starter names no process")
    stats = windows.job_stats(order.job)
    if windows.is_running(key) and (stats is None or key.pid not in stats.processes):
        raise WindowsCallError("Starting", 0, "the process that was named is not in its job")
    return key
