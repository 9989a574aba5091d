"""The runtimes and engines of this node: the one place that names them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.handles import handle_from_data
from node_agent.process import Children, Engine
from node_agent.roster import Roster
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.simulated import SimulatedRuntime
from node_agent.worker import Modules


def installed_engines() -> dict[str, Engine]:
    """By kind of handle, for what is no plain process."""
    return {}


def installed_runtimes(roster: Roster, modules: Modules) -> dict[str, Runtime]:
    """By name."""
    simulated = SimulatedRuntime(roster, modules)
    return {simulated.name: simulated}


def kill(data: Mapping[str, Any]) -> None:
    """Force the end of what a handle names, from any process of this machine. Blocks for 5 s at most.

    A handle of the dead is no error. Raises KeyError or ValueError for what is no handle.
    """
    handle = handle_from_data(data)
    installed_engines().get(handle.kind, Children()).kill(handle)
