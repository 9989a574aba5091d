"""Keeps the gateway process of the node running and tells it what it may route."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable

import structlog
from pydantic import ValidationError

from node_agent.clock import Clock
from node_agent.config import AgentConfig
from node_agent.errors import StorageError
from node_agent.files import write_atomically
from node_agent.gateway.configuration import EXIT_PORT, GatewayConfig, Ready, Route, RoutesFile
from node_agent.gateway.figures import GatewayFigures, read_figures
from node_agent.layout import DataLayout
from node_agent.process import Role, Slot
from node_agent.protocol.keys import TicketKey
from node_agent.protocol.messages import DesiredSnapshot
from node_agent.restarts import NO_EXITS
from node_agent.roster import Candidate, Exit, Roster

_log = structlog.get_logger(__name__)
SLOT = Slot(Role.GATEWAY)
_FINGERPRINT = "gateway"


class GatewayKeeper:
    """Called on the event loop; it writes small files and starts a process, nothing that waits."""

    def __init__(self, config: AgentConfig, layout: DataLayout, roster: Roster, module: str, clock: Clock) -> None:
        self._config = config
        self._layout = layout
        self._files = layout.gateway_files
        self._roster = roster
        self._module = module
        self._clock = clock
        self._restarts = NO_EXITS
        self._written: bytes | None = None
        self.problem: str | None = None
        """Why the gateway does not run, for the operator."""

    def recover(self) -> None:
        """Find a gateway whose handle was lost."""
        self._roster.adopt([Candidate(SLOT, tuple(self._command()))])

    def route(self, keys: Iterable[TicketKey], snapshot: DesiredSnapshot) -> None:
        """Make the running gateway honour exactly these keys and terminals, from the next hello on."""
        routes = RoutesFile(
            ticket_keys=list(keys),
            terminals={
                terminal.terminal_id: Route(
                    epoch=terminal.epoch,
                    worker=self._layout.terminal(terminal.terminal_id).worker_socket,
                    token_file=self._layout.terminal(terminal.terminal_id).token,
                    access_epoch=terminal.access_epoch,
                    screen=self._layout.terminal(terminal.terminal_id).screen_socket,
                )
                for terminal in snapshot.terminals
                if terminal.running
            },
            revoked_tickets=snapshot.revoked_tickets,
        )
        body = routes.model_dump_json().encode()
        if body == self._written:
            return
        try:
            write_atomically(self._files.routes, body)
            self._written = body
        except OSError as error:
            self.problem = f"the gateway's routes cannot be written: {error.strerror}"
            _log.error("routes_not_written", error=str(error))

    def note_exit(self, ended: Exit) -> None:
        """The gateway died; it is started again after its back-off."""
        now = self._clock()
        jitter = random.uniform(-1, 1)  # noqa: S311 - spreads restarts, guards nothing
        policy = self._config.timing.gateway_restart
        self._restarts = self._restarts.after_exit(policy, ended.handle.started_at, now, jitter)
        if ended.code == EXIT_PORT:
            self.problem = f"the gateway cannot listen on {self._config.gateway_listen}: the port is taken or forbidden"
        else:
            self.problem = f"the gateway ended with code {ended.code}"
        _log.error("gateway_down", problem=self.problem, log=str(self._files.output))

    def tick(self) -> None:
        """Start the gateway when it should run and does not."""
        if self._roster.running(SLOT) is not None or not self._restarts.may_start(self._clock()):
            return
        try:
            self._files.ready.unlink(missing_ok=True)
            write_atomically(self._files.config, self._gateway_config().model_dump_json().encode())
            self._roster.start(SLOT, self._command(), self._files.output, _FINGERPRINT)
        except (OSError, StorageError) as error:
            self._restarts = self._restarts.delayed_until(self._clock() + self._config.timing.gateway_restart.base)
            self.problem = f"the gateway cannot be started: {error}"
            _log.error("gateway_not_started", error=str(error))

    def is_up(self) -> bool:
        """Whether the present process has said that it listens."""
        handle = self._roster.running(SLOT)
        try:
            ready = Ready.model_validate_json(self._files.ready.read_bytes())
        except (OSError, ValidationError):
            return False
        up = handle is not None and ready.pid == handle.pid
        if up:
            self.problem = None
        return up

    def figures(self) -> GatewayFigures | None:
        """What the present process has counted; None before it has said so."""
        handle = self._roster.running(SLOT)
        return None if handle is None else read_figures(self._files.figures, handle.pid)

    def _command(self) -> list[str]:
        return [sys.executable, "-m", self._module, "--config", str(self._files.config)]

    def _gateway_config(self) -> GatewayConfig:
        return GatewayConfig(
            listen=self._config.gateway_listen,
            node_id=self._config.node_id,
            certificate=self._files.certificate,
            key=self._files.key,
            routes=self._files.routes,
            redeemed=self._files.redeemed,
            ready=self._files.ready,
            figures=self._files.figures,
        )
