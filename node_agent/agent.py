"""One agent process: puts the parts together, runs their loops, and leaves every child running when it ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from mt5_bridge.lease import Moment, age, read_clocks
from node_agent.bots.code import CodeFetcher, CodeShelf
from node_agent.bridge import connect_worker
from node_agent.bundles import deliver_bundles
from node_agent.clock import SteadyClock, as_datetime
from node_agent.collector import Collector
from node_agent.config import AgentConfig
from node_agent.continuity import read_continuity, write_continuity
from node_agent.control_link import ControlLink, farm_client, farm_context
from node_agent.database import Database
from node_agent.errors import ConfigurationError, StorageError
from node_agent.executor import ExecutorParts
from node_agent.figures import NodeFigures, by_phase
from node_agent.gateway.certificate import install_certificate, renewal_request
from node_agent.gateway.keeper import SLOT as GATEWAY_SLOT
from node_agent.gateway.keeper import GatewayKeeper
from node_agent.identity import NodeKeys
from node_agent.journals import keep_journals_short
from node_agent.layout import DataLayout
from node_agent.lease import Stage
from node_agent.monitor import MonitorParts
from node_agent.outputs import keep_outputs_small
from node_agent.pressure import Headroom, judge_headroom
from node_agent.probation import Probation
from node_agent.process import Children
from node_agent.protocol.keys import TicketKey
from node_agent.protocol.messages import DesiredSnapshot, NodeReport, SyncResponse
from node_agent.protocol.versions import speaks
from node_agent.resources import read_resources
from node_agent.roster import Roster
from node_agent.runtimes.installed import NodeParts, installed_engines, installed_quarters, installed_runtimes
from node_agent.spool import Spool
from node_agent.state import StateStore
from node_agent.supervisor import Supervisor
from node_agent.surroundings import Surroundings
from node_agent.sync import Description, SyncLoop, deliver_events
from node_agent.terminal.fetch import TemplateFetcher
from node_agent.terminal.shelf import TemplateShelf
from node_agent.version import agent_version
from node_agent.watchdog.duty import Duty
from node_agent.watchdog.keeper import SLOT as WATCHDOG_SLOT
from node_agent.watchdog.keeper import WatchdogKeeper
from node_agent.watchdog.lifeline import Lifeline
from node_agent.worker import Modules

if TYPE_CHECKING:
    from node_agent.metrics import OperationsPort

_log = structlog.get_logger(__name__)
_FIRST_LOOK_SECONDS = 3.0
_HEADROOM_SECONDS = 2.0
_OUTPUTS_SECONDS = 60.0
_JOURNALS_SECONDS = 3600.0
_FIGURES_SECONDS = 5.0


@dataclass(frozen=True)
class AgentSettings:
    """Everything an agent process is made of."""

    config: AgentConfig
    layout: DataLayout
    keys: NodeKeys
    ca_pem: str
    modules: Modules = field(default_factory=Modules)
    clocks: Callable[[], Moment] = read_clocks


class Agent:
    """Construct on the event loop that runs it. Raises StorageError when the database cannot be opened."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        config, layout, modules = settings.config, settings.layout, settings.modules
        self._database = Database(layout.database)
        self._state = StateStore(self._database)
        self._takes_books = False
        self._spool = Spool(self._database)

        def wall() -> float:
            return settings.clocks().wall

        steady = SteadyClock(self._state.time_base(settings.clocks()), settings.clocks)
        roster = Roster(self._state, Children(), steady, installed_engines())
        self._gateway = GatewayKeeper(config, layout, roster, modules.gateway, steady)
        self._lifeline = Lifeline(layout, roster, settings.clocks)
        self._watchdog = WatchdogKeeper(
            layout,
            self._lifeline,
            roster,
            modules.watchdog,
            config.timing.gateway_restart,
            steady,
            Duty(layout.root, settings.clocks),
        )
        context = farm_context(settings.ca_pem)
        fetch = TemplateFetcher(config.control_plane_url, context, config.node_id, settings.keys, wall)
        fetch_code = CodeFetcher(config.control_plane_url, context, config.node_id, settings.keys, wall)
        self._code = CodeShelf(layout.code, fetch_code)
        self._shelf = TemplateShelf(layout.templates, fetch)
        collector = Collector(self._database, wall, whole_books=lambda: self._takes_books)
        parts = ExecutorParts(
            layout=layout,
            roster=roster,
            state=self._state,
            runtimes=installed_runtimes(NodeParts(config, layout, roster, settings.modules, self._shelf, steady)),
            keys=settings.keys,
            modules=settings.modules,
            timing=config.timing,
            connect=connect_worker,
            bounds=config.bounds,
            rescue=collector.rescue_journal,
            code=self._code,
            quarters=installed_quarters(config.windows_process),
            may_start=self._lifeline.may_start,
        )
        self._spooled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        monitors = MonitorParts(
            connect_worker, collector, steady, steady.dated, config.timing.probe, spooled=self._tell_spooled
        )
        self._calls = monitors.calls
        self._started = settings.clocks().elapsed
        surroundings = Surroundings(
            keepers={GATEWAY_SLOT: self._gateway, WATCHDOG_SLOT: self._watchdog},
            clock=steady,
            dated=steady.dated,
            lease_over=lambda: self._lifeline.stage() is not Stage.HELD,
            lease_fresh=self._lifeline.is_fresh,
            short_of=lambda: self._headroom().short_of,
            changed=self._changed,
        )
        self._supervisor = Supervisor(parts, monitors, surroundings)
        client = farm_client(config.control_plane_url, settings.ca_pem)
        self._link = ControlLink(client, config.node_id, settings.keys, wall)
        boot = settings.clocks().boot
        self._snapshot = self._state.snapshot(boot)
        self._probation = Probation(self._state.used_in_other_start(boot))
        self._held_back: DesiredSnapshot | None = None
        self._snapshot_saved = True
        known = self._snapshot.generation if self._snapshot else 0
        self._sync = SyncLoop(self._link, config.timing, settings.clocks, known, self._describe, self._apply)
        self._ticket_keys: list[TicketKey] = []
        self._continuity = read_continuity(layout)
        self._clock_offset: float | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._known_headroom: Headroom | None = None
        self._headroom_read_at = 0.0

    async def run(self) -> None:
        """Until SIGTERM or SIGINT, which leave terminals, workers, bots and the gateway running."""
        stop = asyncio.Event()
        loop = self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # Not loop.add_signal_handler, which Windows lacks; the loop wakes up all the same.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        config = self._settings.config
        _log.info("agent_starting", node=config.node_id, data=str(self._settings.layout.root))
        self._gateway.recover()
        self._watchdog.recover()
        self._supervisor.recover()
        if self._snapshot is not None:
            self._lifeline.protect(self._snapshot.terminals)
            self._supervisor.wish(self._snapshot)
        operations = self._open_operations(loop)
        loops = [
            asyncio.create_task(self._supervisor.run()),
            asyncio.create_task(self._talk(config)),
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*loops, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in loops:
                if task.done():
                    task.result()
        finally:
            if operations is not None:
                operations.close()
            await self._close([*loops, stopping])

    async def _talk(self, config: AgentConfig) -> None:
        # What runs already is looked at first, so that a restart of the agent does not report it as starting.
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_SECONDS):
                await self._supervisor.until_seen()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sync.run(config.sync_seconds))
            group.create_task(self._sync.watch())
            group.create_task(deliver_events(self._link, self._spool, config.timing.events, self._spooled))
            group.create_task(keep_outputs_small(self._settings.layout, _OUTPUTS_SECONDS))
            group.create_task(keep_journals_short(self._settings.layout, config.bounds.journals, _JOURNALS_SECONDS))
            group.create_task(deliver_bundles(self._link, self._settings.layout, config.timing.bundles))

    async def _close(self, tasks: list[asyncio.Task[None] | asyncio.Task[bool]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._supervisor.close()
        await self._link.close()
        self._database.close()
        _log.info("agent_stopped", children="left running")

    def _tell_spooled(self) -> None:
        """From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._spooled.set)

    def _changed(self) -> None:
        self._sync.nudge()

    def _apply(self, response: SyncResponse, sent_at: Moment) -> None:
        """Take in what the control plane wants. Raises StorageError, then the answer does not count as received."""
        now = self._settings.clocks()
        self._takes_books = speaks(response.protocol, 2)
        half_way = now.wall - age(sent_at, now) / 2
        self._clock_offset = half_way - response.server_time.timestamp()
        wanted = response.desired or self._held_back
        if not self._probation.is_over(sent_at, max(response.lease_seconds, 2 * response.sync_seconds)):
            self._held_back, wanted = wanted, None
        # First, so that nothing of a new snapshot is started before the watchdog knows of it.
        self._lifeline.renew(sent_at, response.fence_seconds, None if wanted is None else wanted.terminals)
        self._keep_continuity(response.continuity)
        if response.gateway_certificate:
            self._install(response.gateway_certificate)
        self._ticket_keys = response.ticket_keys
        if wanted is not None:
            self._take(wanted, now.boot)
        if self._snapshot is not None:
            self._gateway.route(self._ticket_keys, self._snapshot)
        if not self._snapshot_saved:
            # Acted upon all the same, but not acknowledged: the control plane must not believe that a terminal is gone
            # for good while an older snapshot could bring it back after a crash.
            raise StorageError("the snapshot could not be written down")

    def _take(self, wanted: DesiredSnapshot, boot: str) -> None:
        """On disk first, so that an agent that dies in between does not end what this one had just started."""
        self._snapshot = wanted
        try:
            self._state.save_snapshot(wanted, boot)
        except StorageError as error:
            _log.error("snapshot_not_saved", error=str(error))
            self._snapshot_saved = False
        else:
            self._snapshot_saved, self._held_back = True, None
        self._supervisor.wish(wanted)
        self._tidy_soon(
            {each.template.sha256 for each in wanted.terminals if each.template},
            {bot.code.sha256 for each in wanted.terminals for bot in each.bots if bot.code},
        )

    def _keep_continuity(self, token: str) -> None:
        """Shown only once it lies on disk: a node that shows an older token than it should is taken for a copy."""
        if not token:
            return
        try:
            write_continuity(self._settings.layout, token)
        except OSError as error:
            _log.error("continuity_not_saved", error=str(error))
        else:
            self._continuity = token

    def _headroom(self) -> Headroom:
        """Read anew every two seconds; it is asked for all the time."""
        now = self._settings.clocks().elapsed
        if self._known_headroom is None or now - self._headroom_read_at >= _HEADROOM_SECONDS:
            resources = read_resources(self._settings.layout.root)
            before = self._known_headroom.short_of if self._known_headroom else frozenset()
            reserves = self._settings.config.bounds.reserves
            self._known_headroom = judge_headroom(resources, self._clock_offset, before, reserves)
            self._headroom_read_at = now
            if self._known_headroom.short_of != before:
                _log.warning("pressure", short_of=sorted(self._known_headroom.short_of))
        return self._known_headroom

    def _open_operations(self, loop: asyncio.AbstractEventLoop) -> OperationsPort | None:
        """A node whose port is taken does its work all the same."""
        config = self._settings.config
        if config.operations_port is None:
            return None
        # Only where it is wanted: nodes need no library for it otherwise.
        from node_agent.metrics import OperationsPort

        async def figures() -> NodeFigures:
            return self._figures()

        def ask() -> NodeFigures:
            return asyncio.run_coroutine_threadsafe(figures(), loop).result(_FIGURES_SECONDS)

        try:
            return OperationsPort(config.operations_host, config.operations_port, ask)
        except ConfigurationError as error:
            _log.error("no_operations_port", error=str(error))
            return None

    def _figures(self) -> NodeFigures:
        headroom, spooled, spool_age = self._headroom(), None, None
        with suppress(StorageError):
            spooled, oldest = len(self._spool), self._spool.oldest_at()
            now = as_datetime(self._settings.clocks().wall)
            spool_age = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
        resources = headroom.resources
        return NodeFigures(
            phases=by_phase(self._supervisor.phases()),
            exits=self._supervisor.exits,
            spooled=spooled,
            spool_age=spool_age,
            sync_age=self._settings.clocks().elapsed - (self._sync.answered_at or self._started),
            lease_left=self._sync.lease_left,
            gateway_up=self._gateway.is_up(),
            watchdog_up=self._watchdog.is_up(),
            short_of=headroom.short_of,
            memory_available=resources.memory_available,
            disk_free=resources.disk_free,
            load=resources.load_1m / max(1, resources.cpu_count),
            clock_offset=self._clock_offset,
            calls=self._calls.total,
            gateway=self._gateway.figures(),
        )

    def _describe(self) -> Description:
        files, now = self._settings.layout.gateway_files, as_datetime(self._settings.clocks().wall)
        try:
            request = renewal_request(files, self._settings.config.name, now)
        except (OSError, ValueError) as error:
            _log.error("certificate_unreadable", error=str(error))
            request = ""
        return Description(self._report(), self._supervisor.observed(), self._continuity, request)

    def _install(self, certificate: str) -> None:
        try:
            install_certificate(self._settings.layout.gateway_files, certificate)
        except (OSError, ValueError) as error:
            _log.error("certificate_not_installed", error=str(error))

    def _tidy_soon(self, templates: set[str], code: set[str]) -> None:
        self._tidying = asyncio.create_task(asyncio.to_thread(self._tidy, templates, code))

    def _tidy(self, templates: set[str], code: set[str]) -> None:
        try:
            gone = self._shelf.clean(templates)
            self._code.clean(code)
        except OSError as error:
            _log.error("templates_not_removed", error=str(error))
        else:
            if gone:
                _log.info("templates_removed", sha256=gone)

    def _report(self) -> NodeReport:
        """Raises StorageError."""
        headroom = self._headroom()
        resources = headroom.resources
        gateway_up = self._gateway.is_up()
        found = (self._gateway.problem, self._lifeline.problem)
        problems = [*self._supervisor.disk_errors(), *(each for each in found if each)]
        return NodeReport(
            agent_version=agent_version(),
            clock=as_datetime(self._settings.clocks().wall),
            cpu_count=resources.cpu_count,
            load_1m=resources.load_1m,
            memory_total=resources.memory_total,
            memory_available=resources.memory_available,
            disk_free=resources.disk_free,
            gateway_address=self._settings.config.gateway_address,
            gateway_up=gateway_up,
            spooled_events=len(self._spool),
            problems=problems,
            watchdog_up=self._watchdog.is_up(),
            clock_offset_ms=None if self._clock_offset is None else round(self._clock_offset * 1000),
            pressure=sorted(headroom.short_of),
            templates=self._shelf.held(),
        )
