"""Watches one terminal: asks it every second how it is, and collects what happened on it.

A thread of its own, since the bridge's client blocks: a terminal that hangs holds up only its own monitor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from mt5_bridge.client import BridgeError
from node_agent.bridge import Bridge, Connect, Target
from node_agent.clock import Clock
from node_agent.collector import Collector
from node_agent.errors import StorageError
from node_agent.observation import Link, Probe
from node_agent.protocol.messages import AccountSnapshot

_log = structlog.get_logger(__name__)

_AUTHORISATION_FAILED = -6
_NO_IPC = range(-10004, -9999)
_FOREIGN = -1
_SILENT = "hello_timeout"
_WATCHED_SYMBOLS = 8
_SYMBOLS_SECONDS = 60.0


class QuoteWatch:
    """Notices that quotes move, on a few symbols of Market Watch; a full scan every second would be heavy."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._symbols: tuple[str, ...] = ()
        self._chosen_at = 0.0
        self._newest_msc = 0
        self.moved_at: float | None = None

    def look(self, bridge: Bridge) -> int:
        """Newest quote time, broker wall clock in seconds; 0 before the first quote."""
        now = self._clock()
        if not self._symbols or now - self._chosen_at > _SYMBOLS_SECONDS:
            selected = [symbol.name for symbol in bridge.symbols_get() or () if symbol.select]
            self._symbols, self._chosen_at = tuple(selected[:_WATCHED_SYMBOLS]), now
        ticks = [bridge.symbol_info_tick(symbol) for symbol in self._symbols]
        newest = max((tick.time_msc for tick in ticks if tick is not None), default=0)
        if newest > self._newest_msc:
            # The very first look proves that there is a quote, not that it moves.
            if self._newest_msc:
                self.moved_at = now
            self._newest_msc = newest
        return newest // 1000


def ask(
    bridge: Bridge, facts: Mapping[str, Any], target: Target, quotes: QuoteWatch, now: float, taken_at: datetime
) -> Probe:
    """One round of questions; `facts` is what the worker said of itself. Raises what the bridge raises."""
    if facts["wrong_account"]:
        return Probe(Link.AUTHORISED, now, login=_FOREIGN, connected=True)
    if not facts["linked"]:
        return Probe(_link_of(facts["error_code"]), now)
    account = bridge.account_info()
    terminal = bridge.terminal_info()
    if terminal is None:
        return Probe(Link.NO_TERMINAL, now)
    # Before the broker has answered, a terminal shows no account or one without a login.
    if account is None or account.login == 0:
        return Probe(Link.CONNECTING, now)
    snapshot = None
    if (account.login, account.server) == (target.login, target.server):
        snapshot = _snapshot(account, bridge.positions_total() or 0, quotes.look(bridge), taken_at)
    return Probe(
        Link.AUTHORISED,
        now,
        login=account.login,
        server=account.server,
        connected=bool(terminal.connected),
        trade_allowed=bool(terminal.trade_allowed and account.trade_allowed and account.trade_expert),
        account=snapshot,
        quote_moved_at=quotes.moved_at,
    )


def _link_of(code: int) -> Link:
    """What the worker's last attempt to link to its terminal, with that error code, says.

    -10005 comes from a terminal that answers but has not finished logging in.
    """
    if code == _AUTHORISATION_FAILED:
        return Link.REFUSED
    return Link.NO_TERMINAL if code in _NO_IPC else Link.CONNECTING


def _snapshot(account: Any, positions: int, broker_time: int, taken_at: datetime) -> AccountSnapshot:
    return AccountSnapshot(
        login=account.login,
        server=account.server,
        currency=account.currency,
        balance=account.balance,
        credit=account.credit,
        profit=account.profit,
        equity=account.equity,
        margin=account.margin,
        margin_free=account.margin_free,
        positions=positions,
        broker_time=broker_time,
        taken_at=taken_at,
    )


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
        self._quotes = QuoteWatch(parts.clock)
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
                self._wake.wait(self._parts.interval)
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
        facts = bridge.describe()
        disk_error: StorageError | None = None
        try:
            # First, because the journal answers even while the terminal does not.
            self._parts.collector.collect_journal(bridge, self.target, int(facts["journal_sequence"]))
        except StorageError as error:
            disk_error = error  # a full disk must not hide how the terminal is
        now = self._parts.clock()
        probe = ask(bridge, facts, self.target, self._quotes, now, self._parts.dated(now))
        self._publish(probe)
        self._last_failure = ""
        if disk_error is not None:
            raise disk_error
        if probe.account is not None:
            self._parts.collector.collect_deals(bridge, self.target)

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
