"""An event loop with virtual time, whose tasks belong to processes that can be frozen, thawed and killed.

A killed process runs no further line of code, not even a `finally`: as after SIGKILL or a power cut. A frozen one
(SIGSTOP, a paused virtual machine) goes on where it stood, however late.
"""

from __future__ import annotations

import asyncio
import heapq
import inspect
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple, Unpack

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")


class SimProcess:
    """Owner of tasks. Whatever is started inside a task belongs to the same process."""

    def __init__(self, name: str, loop: VirtualLoop) -> None:
        self.name = name
        self.loop = loop
        self.alive = True
        self._freezes = 0
        self._held: list[asyncio.Handle] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def frozen(self) -> bool:
        return self._freezes > 0

    @property
    def running(self) -> bool:
        return self.alive and not self._freezes

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = copy_context()
        context.run(_OWNER.set, self)
        task = self.loop.create_task(coroutine, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        context = copy_context()
        context.run(_OWNER.set, self)
        self.loop.call_later(delay, callback, context=context)

    def kill(self) -> None:
        self.alive = False
        self.loop.graveyard.append((self._tasks, self._held))

    def freeze(self) -> None:
        self._freezes += 1

    def thaw(self) -> None:
        self._freezes -= 1
        if not self._freezes:
            held, self._held = self._held, []
            self.loop.run_soon(held)

    def hold(self, handle: asyncio.Handle) -> None:
        """Keep what would have run now until the process goes on; a dead one never does."""
        self._held.append(handle)


_OWNER: ContextVar[SimProcess | None] = ContextVar("owner", default=None)


def current_process() -> SimProcess | None:
    """Whose code runs at the moment; None outside of all processes."""
    return _OWNER.get()


def _step(handle: asyncio.Handle, context: Context, run: Callable[[], None]) -> None:
    process = context.get(_OWNER)
    if process is None or process.running:
        run()
    else:
        process.hold(handle)


class _Handle(asyncio.Handle):
    _context: Context

    def _run(self) -> None:
        _step(self, self._context, super()._run)


class _TimerHandle(asyncio.TimerHandle):
    _context: Context
    _scheduled: bool

    def _run(self) -> None:
        _step(self, self._context, super()._run)


class _Selector:
    """Nothing ever comes from outside; waiting moves the time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("the simulation has nothing left to do and nobody ended it")
        self._loop.now += timeout
        return []

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`now` is the true time of the simulated world, in seconds since 1970."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.now = start
        self.steps = 0
        self.graveyard: list[object] = []
        """What killed processes left, kept until the end: letting go of a coroutine would run its `finally`."""
        self.failures: list[str] = []
        self._clock_resolution = 1e-5  # seconds since 1970 are no finer in a float
        self._selector = _Selector(self)
        # What the base class runs, and does not show to type checkers.
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]
        self.set_exception_handler(self._on_error)

    def time(self) -> float:
        return self.now

    def run_soon(self, handles: list[asyncio.Handle]) -> None:
        self._ready.extend(handles)

    def abandon(self) -> None:
        """Let go of tasks that never began, without the warning that they deserve elsewhere."""
        for task in asyncio.all_tasks(self):
            coroutine = task.get_coro()
            if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
                coroutine.close()

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Arguments]], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[_Arguments]], _Result],
        *args: *_Arguments,
    ) -> asyncio.Future[_Result]:
        """In this thread and at once: the simulation has one thread."""
        future: asyncio.Future[_Result] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            future.set_exception(error)
        return future

    def _call_soon(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.Handle:
        self.steps += 1
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in the kernel."""

    def _on_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception):  # not the death of a process
            self.failures.append(repr(error))
