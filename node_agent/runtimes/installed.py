"""The runtimes and engines of this node: the one place that names them all."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.bots.quarters import LinuxQuarters, Quarters
from node_agent.clock import Clock
from node_agent.config import AgentConfig, WindowsProcessSettings, WineContainerSettings
from node_agent.errors import ConfigurationError
from node_agent.handles import handle_from_data
from node_agent.layout import DataLayout
from node_agent.process import Children, Engine
from node_agent.roster import Roster
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.simulated import SimulatedRuntime
from node_agent.runtimes.windows_process import WindowsNode, WindowsProcessRuntime
from node_agent.terminal.shelf import TemplateShelf
from node_agent.windows.engine import KIND as JOB_KIND
from node_agent.windows.engine import JobEngine
from node_agent.windows.port import JobLimits
from node_agent.worker import Modules


@dataclass(frozen=True)
class NodeParts:
    """What runtimes are made from."""

    config: AgentConfig
    layout: DataLayout
    roster: Roster
    modules: Modules
    shelf: TemplateShelf
    clock: Clock


def runtime_names(
    wine_container: WineContainerSettings | None, windows_process: WindowsProcessSettings | None
) -> list[str]:
    """What the control plane may ask of a node with these settings."""
    real = {"wine_container": wine_container, WindowsProcessRuntime.name: windows_process}
    return ["simulated", *(name for name, settings in real.items() if settings is not None)]


def installed_engines() -> dict[str, Engine]:
    """By kind of handle, for what is no plain process."""
    if sys.platform == "win32":
        from node_agent.windows.calls import WindowsCalls

        return {JOB_KIND: JobEngine(WindowsCalls())}
    if importlib.util.find_spec("docker") is None:
        return {}  # the extra is not installed, so no agent here has started containers
    from node_agent.runtimes.docker_engine import CONTAINER, EXEC, DockerEngine

    engine = DockerEngine()
    return {CONTAINER: engine, EXEC: engine}


def installed_runtimes(parts: NodeParts) -> dict[str, Runtime]:
    """By name. Raises ConfigurationError when the settings ask for one that is not installed."""
    runtimes: list[Runtime] = [SimulatedRuntime(parts.roster, parts.modules)]
    if parts.config.wine_container is not None:
        if importlib.util.find_spec("docker") is None:
            raise ConfigurationError(
                "real terminals in containers need Docker's SDK: install mt5farm[agent,containers]"
            )
        from node_agent.runtimes.docker_engine import DockerEngine
        from node_agent.runtimes.wine_container import WineContainerRuntime

        runtimes.append(
            WineContainerRuntime(
                parts.roster, DockerEngine(), parts.config.wine_container, parts.layout, parts.shelf, parts.clock
            )
        )
    if parts.config.windows_process is not None:
        runtimes.append(_windows_process(parts, parts.config.windows_process))
    return {runtime.name: runtime for runtime in runtimes}


def _windows_process(parts: NodeParts, settings: WindowsProcessSettings) -> Runtime:
    from node_agent.windows.calls import WindowsCalls

    limits = JobLimits(settings.memory_mb << 20, settings.cpu_percent, settings.processes)
    node = WindowsNode(parts.shelf.take, settings.own_users, limits, modules=parts.modules)
    return WindowsProcessRuntime(parts.roster, WindowsCalls(), node, parts.clock, time.sleep)


def installed_quarters(settings: WindowsProcessSettings | None) -> Quarters:
    """Of bots whose code users have brought."""
    if sys.platform == "win32":
        from node_agent.windows.bot_quarters import WindowsQuarters
        from node_agent.windows.calls import WindowsCalls

        return WindowsQuarters(WindowsCalls(), settings is not None and settings.own_users)
    return LinuxQuarters()


def kill(data: Mapping[str, Any]) -> None:
    """Force the end of what a handle names, from any process of this machine. Blocks for 5 s at most.

    A handle of the dead is no error. Raises KeyError or ValueError for what is no handle.
    """
    handle = handle_from_data(data)
    installed_engines().get(handle.kind, Children()).kill(handle)
