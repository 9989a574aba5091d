"""The runtimes and engines of this node: the one place that names them all."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node_agent.config import WindowsSettings
from node_agent.handles import handle_from_data
from node_agent.process import Children, Engine
from node_agent.roster import Roster
from node_agent.runtimes.base import Runtime, TerminalSpec
from node_agent.runtimes.simulated import SimulatedRuntime
from node_agent.runtimes.windows_process import WindowsNode, WindowsProcessRuntime
from node_agent.windows.engine import KIND as JOB_KIND
from node_agent.windows.engine import JobEngine
from node_agent.windows.port import JobLimits
from node_agent.worker import Modules


def installed_engines() -> dict[str, Engine]:
    """By kind of handle, for what is no plain process."""
    if sys.platform == "win32":
        from node_agent.windows.calls import WindowsCalls

        return {JOB_KIND: JobEngine(WindowsCalls())}
    else:  # noqa: RET505 - or the type checker sees one system's code only
        return {}


def installed_names() -> list[str]:
    """Of the runtimes that this system can have, for enrolment."""
    return [SimulatedRuntime.name, *([WindowsProcessRuntime.name] if sys.platform == "win32" else [])]


def installed_runtimes(roster: Roster, modules: Modules, settings: WindowsSettings) -> dict[str, Runtime]:
    """By name."""
    runtimes: list[Runtime] = [SimulatedRuntime(roster, modules)]
    if sys.platform == "win32":
        from node_agent.windows.calls import WindowsCalls

        limits = JobLimits(settings.memory, settings.cpu_percent, settings.processes)
        node = WindowsNode(_template, settings.own_users, limits, modules=modules)
        runtimes.append(WindowsProcessRuntime(roster, WindowsCalls(), node, time.time, time.sleep))
    return {runtime.name: runtime for runtime in runtimes}


def _template(spec: TerminalSpec) -> Path:
    """The portable folder that the operator has put into the agent's data folder, for all its terminals."""
    return spec.layout.root.parents[1] / "template"


def kill(data: Mapping[str, Any]) -> None:
    """Force the end of what a handle names, from any process of this machine. Blocks for 5 s at most.

    A handle of the dead is no error. Raises KeyError or ValueError for what is no handle.
    """
    handle = handle_from_data(data)
    installed_engines().get(handle.kind, Children()).kill(handle)
