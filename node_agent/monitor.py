"""Watches one terminal: asks it every second how it is, and collects what happened on it.

A thread of its own, since the bridge's client blocks: a terminal that hangs holds up only its own monitor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from mt5_bridge.client import BridgeError
from node_agent.bridge import Bridge, Connect, Target
from node_agent.call_times import NodeCallTimes
from node_agent.clock import Clock
from node_agent.collector import Collector
from node_agent.errors import StorageError
from node_agent.observation import Link, Probe
from node_agent.protocol.messages import AccountSnapshot, ObservedGuard

_log = structlog.get_logger(__name__)

_AUTHORISATION_FAILED = -6
_NO_IPC = range(-10004, -9999)
_FOREIGN = -1
_SILENT = "hello_timeout"
_FIRST_ROUNDS = 10
_FIRST_INTERVAL = 0.25
_LOOK_AGAIN_SECONDS = 60.0
"""The whole of the last day's history is read at least so often, although no deal of it is missing."""
_MOST_LOOKING = 0.02
"""Share of its time that a monitor spends on these looks: after a day of very many deals they become rarer."""


class QuoteWatch:
    """Notices that quotes move."""

    def __init__(self) -> None:
        self._newest_msc = 0
        self.moved_at: float | None = None

    def saw(self, newest_msc: int, now: float) -> None:
        """The very first look proves that there is a quote, not that it moves."""
        if newest_msc > self._newest_msc:
            if self._newest_msc:
                self.moved_at = now
            self._newest_msc = newest_msc


def judge_pulse(
    pulse: Mapping[str, Any], target: Target, quotes: QuoteWatch, now: float, dated: Callable[[float], datetime]
) -> Probe:
    """What the worker's answer says; see `mt5_bridge.pulse`."""
    told = pulse.get("guard")
    guard = None if told is None else ObservedGuard.model_validate(told)
    if pulse["wrong_account"]:
        return Probe(Link.AUTHORISED, now, login=_FOREIGN, connected=True, guard=guard)
    if not pulse["linked"]:
        return Probe(_link_of(pulse["error_code"]), now, guard=guard)
    if not pulse["terminal"]:
        return Probe(Link.NO_TERMINAL, now, guard=guard)
    account = pulse["account"]
    if account is None:
        return Probe(Link.CONNECTING, now, guard=guard)
    snapshot, flat = None, None
    if (account["login"], account["server"]) == (target.login, target.server):
        quotes.saw(pulse["newest_msc"], now)
        positions, orders = pulse["positions"], pulse["orders"]
        flat = None if positions is None or orders is None else positions == 0 and orders == 0
        # Its fields come from our own worker and are checked when they are sent.
        snapshot = AccountSnapshot.model_construct(
            **account, positions=positions or 0, broker_time=pulse["newest_msc"] // 1000, taken_at=dated(now)
        )
    return Probe(
        Link.AUTHORISED,
        now,
        login=account["login"],
        server=account["server"],
        connected=pulse["connected"],
        trade_allowed=pulse["trade_allowed"],
        account=snapshot,
        flat=flat,
        build=pulse["build"] or None,
        quote_moved_at=quotes.moved_at,
        guard=guard,
    )


def _link_of(code: int) -> Link:
    """What the worker's last attempt to link to its terminal, with that error code, says.

    -10005 comes from a terminal that answers but has not finished logging in.
    """
    if code == _AUTHORISATION_FAILED:
        return Link.REFUSED
    return Link.NO_TERMINAL if code in _NO_IPC else Link.CONNECTING


@dataclass(frozen=True)
class MonitorParts:
    """What every monitor of a node shares."""

    connect: Connect
    collector: Collector
    clock: Clock
    dated: Callable[[float], datetime]
    """From that clock to what people read."""
    interval: float
    """Seconds between two rounds."""
    calls: NodeCallTimes = field(default_factory=NodeCallTimes)
    spooled: Callable[[], None] = lambda: None
    """Called from a monitor's thread when something waits for the control plane."""


@dataclass
class _Books:
    """How far this session has collected."""

    deals_from: int
    """Broker wall clock in seconds, from where the deals are counted."""
    journal: int | None = None
    deals: int | None = None
    whole_look_at: float = 0.0
    """When all of the last day is to be looked at again."""

    def are_due(self, deals: int | None, now: float) -> bool:
        return deals is None or deals != self.deals or now >= self.whole_look_at


class Monitor:
    """`publish` is called from the monitor's thread with each probe; `bot_ids` answers whose logs to read."""

    def __init__(
        self,
        target: Target,
        parts: MonitorParts,
        publish: Callable[[Probe], None],
        bot_ids: Callable[[], list[str]],
    ) -> None:
        self.target = target
        self._parts = parts
        self._publish = publish
        self._bot_ids = bot_ids
        self._quotes = QuoteWatch()
        self._books: _Books | None = None
        self._bridge: Bridge | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._round_done = threading.Condition()
        self._rounds = 0
        self._last_failure = ""
        self.busy_since: float | None = None
        """Start of the round that has not returned yet, or of the first of several in which the worker took the
        connection and said nothing: a worker that hangs does no more than that. Seconds since 1970.
        """
        self._silent = False
        self.disk_error: str | None = None
        """Why the last collection could not be written down."""
        # A daemon, so that a call that never returns cannot hold up the end of the agent.
        self._thread = threading.Thread(target=self._run, name=f"monitor-{target.terminal_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; a call in flight is cut off."""
        self._stop.set()
        self._wake.set()
        self._drop_bridge()

    def collect_now(self, timeout: float) -> bool:
        """Wait until a round that began after this call is over; False when that takes longer than `timeout` s."""
        with self._round_done:
            # A round may be half over; only the one after it is sure to see everything.
            goal = self._rounds + (1 if self.busy_since is None else 2)
            self._wake.set()
            return self._round_done.wait_for(lambda: self._rounds >= goal or self._stop.is_set(), timeout)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            if self.busy_since is None:
                self.busy_since = self._parts.clock()
            self._silent = False
            try:
                self._round()
            finally:
                with self._round_done:
                    if not self._silent:
                        self.busy_since = None
                    self._rounds += 1
                    more = self._wake.is_set()
                    self._round_done.notify_all()
            if not more:
                # A second look soon, since it takes two to see a quote move.
                hurry = self._quotes.moved_at is None and self._rounds < _FIRST_ROUNDS
                self._wake.wait(min(self._parts.interval, _FIRST_INTERVAL) if hurry else self._parts.interval)
        self._drop_bridge()

    def _round(self) -> None:
        try:
            self._ask_and_collect()
            self.disk_error = None
        except (OSError, EOFError) as error:
            self._lost(Link.NO_WORKER, error)
        except BridgeError as error:
            self._silent = error.code == _SILENT
            self._lost(Link.NO_TERMINAL if error.retryable else Link.NO_WORKER, error)
        except StorageError as error:
            self.disk_error = str(error)
            _log.error("events_not_spooled", terminal=self.target.terminal_id, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever a worker answers must not end the watch
            self._lost(Link.NO_WORKER, error, trace=error)
        try:
            self._parts.collector.collect_bot_logs(self.target, self._bot_ids())
        except (OSError, StorageError) as error:
            self.disk_error = str(error)
            _log.error("bot_logs_not_spooled", terminal=self.target.terminal_id, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever a bot writes must not end the watch
            _log.error("bot_logs_not_read", terminal=self.target.terminal_id, error=repr(error))

    def _ask_and_collect(self) -> None:
        bridge = self._bridge
        if bridge is None:
            bridge = self._bridge = self._parts.connect(self.target)
            self._books = None
        if self._books is None:
            self._books = _Books(self._parts.collector.deals_from(self.target))
        # Before the question: what is told may be older than the answer, and of a terminal that has ended since.
        now = self._parts.clock()
        pulse = bridge.pulse(self._books.deals_from)
        probe = judge_pulse(pulse, self.target, self._quotes, now, self._parts.dated)
        self._publish(probe)
        self._parts.calls.tell(self.target.terminal_id, pulse.get("calls"))
        self._last_failure = ""
        # Whatever is not new costs neither a question nor a look into the database.
        sequence = int(pulse["journal_sequence"])
        if sequence != self._books.journal:
            if self._parts.collector.collect_journal(bridge, self.target, sequence):
                self._parts.spooled()
            self._books.journal = sequence
        if probe.account is not None and self._books.are_due(pulse["deals"], now):
            self._books = self._collect(bridge, self._books, pulse["deals"], now)

    def _collect(self, bridge: Bridge, books: _Books, deals: int | None, now: float) -> _Books:
        """What is new, and all of the last day when that is due or a deal of it is missing still."""
        collector, target, again = self._parts.collector, self.target, books.whole_look_at
        recent = deals is not None and now < again
        # Deals at once, so that whoever watches does not wait for the other books.
        self._tell(collector.collect_deals(bridge, target, recent=recent))
        if recent and collector.misses_deals(target, books.deals_from, deals or 0):
            recent = False
            self._tell(collector.collect_deals(bridge, target))
        self._tell(collector.collect_books(bridge, target, recent=recent))
        if not recent:
            done_at = self._parts.clock()
            again = done_at + max(_LOOK_AGAIN_SECONDS, (done_at - now) / _MOST_LOOKING)
        deals_from = collector.deals_from(target)
        # A count from another moment says nothing about the next one.
        return _Books(deals_from, books.journal, deals if deals_from == books.deals_from else None, again)

    def _tell(self, spooled: int) -> None:
        if spooled:
            self._parts.spooled()

    def _lost(self, link: Link, error: Exception, trace: Exception | None = None) -> None:
        self._drop_bridge()
        if self._stop.is_set():
            return
        # Once for each kind of failure, not once a second.
        if repr(error) != self._last_failure:
            self._last_failure = repr(error)
            # Expected while a worker starts; the phase says when it lasts too long.
            _log.info("probe_unanswered", terminal=self.target.terminal_id, error=repr(error), exc_info=trace)
        self._publish(Probe(link, self._parts.clock()))

    def _drop_bridge(self) -> None:
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            try:
                bridge.close()
            except Exception as error:  # noqa: BLE001 - a broken link may fail in any way when closed
                _log.debug("close_failed", terminal=self.target.terminal_id, error=repr(error))
