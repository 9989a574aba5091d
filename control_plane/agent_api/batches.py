"""Reports that come while others are being taken wait for them, and are then taken together.

What a transaction costs is nearly the same for one report as for many. A farm whose nodes report now and then takes
each at once and alone; the more of them come, the more are taken together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from control_plane.agent_api.service import Answer
from control_plane.errors import UnavailableError
from control_plane.fleet.service import SignedReport

MOST = 32
"""Reports in one transaction: what it holds, others wait for."""
BREATH_SECONDS = 0.1
"""For how long reports are gathered once they come faster than one by one: short beside the 10 s between a node's."""

Take = Callable[[Sequence[SignedReport]], list[Answer]]


@dataclass(frozen=True)
class Waiting:
    report: SignedReport
    answer: Future[Answer]


class Batches:
    """One thread takes all reports: two hold each other up, and the wishes of users. Safe to use from any thread."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reports")
        self._lock = threading.Lock()
        self._waiting: list[Waiting] = []
        self._busy = False
        self._closed = False

    def put(self, report: SignedReport) -> Future[Answer]:
        """The answer to come, or what is wrong with the report."""
        answer: Future[Answer] = Future()
        with self._lock:
            if self._closed:
                answer.set_result(_refusal())
                return answer
            self._waiting.append(Waiting(report, answer))
            if not self._busy:
                self._busy = True
                self._thread.submit(self._work)
        return answer

    def close(self) -> None:
        """What is being taken is taken to its end; what waits is refused, and so is all that comes from now on."""
        with self._lock:
            self._closed = True
            refused, self._waiting = self._waiting, []
        for each in refused:
            if each.answer.set_running_or_notify_cancel():
                each.answer.set_result(_refusal())

    def _work(self) -> None:
        """Until nobody waits."""
        gather = False
        while True:
            if gather:
                time.sleep(BREATH_SECONDS)
            with self._lock:
                now, self._waiting = next_batch(self._waiting)
                self._busy = bool(now)
                is_backlog = bool(self._waiting)
            if not now:
                return
            # Who has given up waiting is left out; the others cannot give up any more.
            batch = [each for each in now if each.answer.set_running_or_notify_cancel()]
            self._answer(batch)
            gather = len(batch) > 1 and not is_backlog

    def _answer(self, batch: Sequence[Waiting]) -> None:
        try:
            answers = self._take([each.report for each in batch])
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever, and the next ones must be taken
            answers = [error] * len(batch)
        for each, answer in zip(batch, answers, strict=True):
            each.answer.set_result(answer)


def _refusal() -> UnavailableError:
    return UnavailableError("The farm is about to stop; please try again.", code="stopping", retryable=True)


def next_batch(waiting: Sequence[Waiting]) -> tuple[list[Waiting], list[Waiting]]:
    """Which are taken now, in the order they came, and which wait on: of one node only one at a time."""
    now: list[Waiting] = []
    later: list[Waiting] = []
    nodes: set[str] = set()
    for each in waiting:
        node_id = each.report.node_id
        if node_id in nodes or len(now) == MOST:
            later.append(each)
        else:
            nodes.add(node_id)
            now.append(each)
    return now, later
