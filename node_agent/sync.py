"""Tells the control plane what is, hears what should be, and delivers events. Each loop survives any outage."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from mt5_bridge.lease import Moment
from node_agent.config import Timing
from node_agent.control_link import ControlError, ControlLink, NodeUnknownError
from node_agent.errors import StorageError
from node_agent.protocol.messages import EventBatch, NodeReport, ObservedTerminal, SyncRequest, SyncResponse
from node_agent.spool import Spool

_log = structlog.get_logger(__name__)
_RETRY_BASE = 0.5
_RETRY_CAP = 15.0


@dataclass(frozen=True)
class Description:
    """What the agent says with each sync."""

    report: NodeReport
    terminals: list[ObservedTerminal]
    continuity: str = ""
    """The token of the last answer that lies on disk."""
    gateway_csr: str = ""


class SyncLoop:
    """Whole snapshots both ways: nothing is lost by a lost sync, since the next one says everything again.

    `request` makes each sync but for what this loop knows; `apply` takes each answer and when its request was sent.
    What a lost lease stops is not decided here.
    """

    def __init__(
        self,
        link: ControlLink,
        timing: Timing,
        clocks: Callable[[], Moment],
        known_generation: int,
        describe: Callable[[], Description],
        apply: Callable[[SyncResponse, Moment], None],
    ) -> None:
        self._link = link
        self._timing = timing
        self._clocks = clocks
        self._describe = describe
        self._apply = apply
        self._boot_id = secrets.token_hex(8)
        self._sequence = 0
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        """Is set once a sync was answered or has failed."""
        self._lease_until: float | None = None
        self._lease_lost = False
        self.generation = known_generation
        self.answered_at: float | None = None
        """When the last sync that was answered was sent, in seconds of `Moment.elapsed`."""

    @property
    def lease_left(self) -> float | None:
        """Seconds; None before the first answer."""
        return None if self._lease_until is None else self._lease_until - self._clocks().elapsed

    def nudge(self) -> None:
        """Sync at once, within the floor."""
        self._wake.set()

    async def run(self, interval: float) -> None:
        """Until cancelled. `interval` is the first pause in seconds; the control plane sets the next ones."""
        failures = 0
        while True:
            self._wake.clear()
            try:
                interval = await self._sync()
                failures, pause = 0, interval
            except NodeUnknownError as error:
                _log.error("node_unknown", error=str(error), advice="unlock or enrol this node again")
                pause = self._timing.retry_unknown_node
                await asyncio.sleep(pause)
                continue
            except (ControlError, StorageError) as error:
                failures += 1
                pause = _back_off(failures)
                _log.warning("sync_failed", error=str(error), attempts=failures)
            self._tried.set()
            self._watch_lease()
            await asyncio.sleep(self._timing.sync_floor)
            # Not wait_for: when it is cancelled just as its time is up it loses the cancellation (Python 3.11).
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pause - self._timing.sync_floor)):
                    await self._wake.wait()

    async def watch(self) -> None:
        """Until cancelled: hears of a newer generation without waiting for the next sync."""
        failures = 0
        while True:
            try:
                answer = await self._link.watch(self.generation)
                failures = 0
            except ControlError:
                # The sync loop reports outages; this one only gets out of the way.
                failures += 1
                await asyncio.sleep(_back_off(failures))
                continue
            if answer.generation > self.generation:
                # A control plane that is slow to answer must not be asked for the same news again and again meanwhile.
                self._tried.clear()
                self.nudge()
                await self._tried.wait()
                await asyncio.sleep(2 * self._timing.sync_floor)

    async def _sync(self) -> float:
        self._sequence += 1
        seen = self._describe()
        request = SyncRequest(
            boot_id=self._boot_id,
            sequence=self._sequence,
            known_generation=self.generation,
            report=seen.report,
            terminals=seen.terminals,
            continuity=seen.continuity,
            gateway_csr=seen.gateway_csr,
        )
        # Before the sending, so that nobody believes in a lease that began later than this.
        sent_at = self._clocks()
        response = await self._link.sync(request)
        self._apply(response, sent_at)
        self.generation = response.generation
        self._lease_until = sent_at.elapsed + response.lease_seconds
        self.answered_at = sent_at.elapsed
        return response.sync_seconds

    def _watch_lease(self) -> None:
        lost = self._lease_until is not None and self._clocks().elapsed > self._lease_until
        if lost and not self._lease_lost:
            _log.warning("lease_lost")
        elif self._lease_lost and not lost:
            _log.info("lease_regained")
        self._lease_lost = lost


async def deliver_events(link: ControlLink, spool: Spool, interval: float, news: asyncio.Event | None = None) -> None:
    """Until cancelled: hand the spool over in order. An event leaves it only when the control plane has it.

    `news` is set when something was spooled, and saves waiting for the next look; after a failure it does not.
    """
    failures, news = 0, news or asyncio.Event()
    while True:
        pause = interval
        news.clear()
        try:
            while await _deliver_batch(link, spool):
                failures = 0
        except (ControlError, StorageError) as error:
            failures += 1
            pause = max(interval, _back_off(failures))
            _log.warning("events_not_delivered", error=str(error), attempts=failures)
            await asyncio.sleep(pause)
            continue
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await news.wait()


async def _deliver_batch(link: ControlLink, spool: Spool) -> bool:
    """False when there is nothing more to deliver at the moment."""
    events = await asyncio.to_thread(spool.oldest)
    if not events:
        return False
    ack = await link.events(EventBatch(events=events))
    for event_id, reason in ack.rejected.items():
        _log.error("event_rejected", event_id=event_id, reason=reason)
    settled = {*ack.accepted, *ack.rejected}
    await asyncio.to_thread(spool.remove, settled)
    # An answer that settles nothing must not become a busy loop.
    return not settled.isdisjoint(event.event_id for event in events)


def _back_off(failures: int) -> float:
    delay = min(_RETRY_CAP, _RETRY_BASE * 2.0 ** min(failures - 1, 16))
    return delay * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing
