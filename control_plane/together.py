"""What several ask for at the same time is found out for all of them together.

What a transaction costs is nearly the same for one as for many. Where somebody asks now and then, they are answered at
once and alone; the more of them ask, the more are answered together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread

BREATH_SECONDS = 0.1
"""For how long those who ask are gathered once they are more than one."""
_Question = TypeVar("_Question")
_Answer = TypeVar("_Answer")
_log = structlog.get_logger(__name__)


class Together(Generic[_Question, _Answer]):
    """One thread at a time looks for the answers to all questions of one group. For use in one event loop."""

    def __init__(
        self,
        find: Callable[[str, Sequence[_Question]], Sequence[_Answer | Exception]],
        limiter: CapacityLimiter | None = None,
        breath_seconds: float = BREATH_SECONDS,
    ) -> None:
        """`find` is called in a thread, with a group and its questions; its answers are in their order.

        What it raises for several questions is theirs alone who cause it: each is then asked again by itself.
        """
        self._find = find
        self._breath_seconds = breath_seconds
        self._limiter = limiter
        self._waiting: dict[str, list[tuple[_Question, asyncio.Future[_Answer]]]] = {}
        """By group; those that have a task."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, group: str, question: _Question) -> _Answer:
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        if group in self._waiting:
            self._waiting[group].append((question, answer))
        else:
            self._waiting[group] = [(question, answer)]
            task = asyncio.create_task(self._work(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    async def _work(self, group: str) -> None:
        """Until nobody waits."""
        try:
            while now := [each for each in self._waiting[group] if not each[1].done()]:
                self._waiting[group] = []
                await self._answer(group, now)
                if len(now) > 1:
                    await asyncio.sleep(self._breath_seconds)
        finally:
            for _, answer in self._waiting.pop(group):
                answer.cancel()

    async def _answer(self, group: str, now: Sequence[tuple[_Question, asyncio.Future[_Answer]]]) -> None:
        questions = [question for question, _ in now]
        try:
            found = await to_thread.run_sync(self._find, group, questions, limiter=self._limiter)
        except Exception as error:  # noqa: BLE001 - it is for whoever waits for the answer
            if len(now) > 1:
                _log.warning("asked_one_by_one", count=len(now), error=type(error).__name__)
                for each in now:
                    await self._answer(group, [each])
                return
            found = [error]
        for (_, answer), each_found in zip(now, found, strict=True):
            if answer.done():
                continue  # who asked has gone
            if isinstance(each_found, Exception):
                answer.set_exception(each_found)
            else:
                answer.set_result(each_found)
