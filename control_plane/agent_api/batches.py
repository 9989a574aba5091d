"""Reports that come while others are being taken wait for them, and are then taken together.

What a transaction costs is nearly the same for one report as for many. A farm whose nodes report now and then takes
each at once and alone; the more of them come, the more are taken together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
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
    """One thread takes the reports, and others help it while more wait than fit into one transaction.

    A batch waits for the database most of the time, so the helpers work in its pauses. Safe to use from any thread.
    """

    def __init__(self, take: Take, most_threads: int = 1) -> None:
        self._take = take
        self._most_threads = most_threads
        self._threads = ThreadPoolExecutor(most_threads, thread_name_prefix="reports")
        self._lock = threading.Lock()
        self._waiting: list[Waiting] = []
        self._working = 0
        self._taking: set[str] = set()
        """Nodes whose reports are in a transaction at the moment: their next ones wait for its end."""
        self._closed = False

    def put(self, report: SignedReport) -> Future[Answer]:
        """The answer to come, or what is wrong with the report."""
        answer: Future[Answer] = Future()
        with self._lock:
            if self._closed:
                answer.set_result(_refusal())
                return answer
            self._waiting.append(Waiting(report, answer))
            if self._working == 0 or (self._working < self._most_threads and self._is_backlog()):
                self._working += 1
                self._threads.submit(self._work)
        return answer

    def close(self) -> None:
        """What is being taken is taken to its end; what waits is refused, and so is all that comes from now on."""
        with self._lock:
            self._closed = True
            refused, self._waiting = self._waiting, []
        for each in refused:
            if each.answer.set_running_or_notify_cancel():
                each.answer.set_result(_refusal())

    def _is_backlog(self) -> bool:
        """Whether more wait than fit into one transaction."""
        return len(self._waiting) > MOST

    def _work(self) -> None:
        """Until nobody waits or, as a helper, until there is no backlog."""
        gather = False
        while True:
            if gather:
                time.sleep(BREATH_SECONDS)
            with self._lock:
                if self._working > 1 and not self._is_backlog():
                    self._working -= 1
                    return
                now, self._waiting = next_batch(self._waiting, self._taking)
                if not now:
                    self._working -= 1
                    return
                nodes = {each.report.node_id for each in now}
                self._taking |= nodes
            # Who has given up waiting is left out; the others cannot give up any more.
            batch = [each for each in now if each.answer.set_running_or_notify_cancel()]
            self._answer(batch)
            with self._lock:
                self._taking -= nodes
                gather = len(batch) > 1 and not self._is_backlog()

    def _answer(self, batch: Sequence[Waiting]) -> None:
        try:
            answers = self._take([each.report for each in batch])
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever, and the next ones must be taken
            answers = [error] * len(batch)
        for each, answer in zip(batch, answers, strict=True):
            each.answer.set_result(answer)


def _refusal() -> UnavailableError:
    return UnavailableError("The farm is about to stop; please try again.", code="stopping", retryable=True)


def next_batch(waiting: Sequence[Waiting], taking: Collection[str] = ()) -> tuple[list[Waiting], list[Waiting]]:
    """Which are taken now, in the order they came, and which wait on: of one node only one at a time.

    `taking` are the nodes of which one is being taken already.
    """
    now: list[Waiting] = []
    later: list[Waiting] = []
    nodes = set(taking)
    for each in waiting:
        node_id = each.report.node_id
        if node_id in nodes or len(now) == MOST:
            later.append(each)
        else:
            nodes.add(node_id)
            now.append(each)
    return now, later
