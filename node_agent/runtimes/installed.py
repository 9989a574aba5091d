"""The runtimes and engines of this node: the one place that names them all."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from node_agent.clock import Clock
from node_agent.config import AgentConfig, WineContainerSettings
from node_agent.errors import ConfigurationError
from node_agent.handles import handle_from_data
from node_agent.layout import DataLayout
from node_agent.process import Children, Engine
from node_agent.roster import Roster
from node_agent.runtimes.base import Runtime
from node_agent.runtimes.simulated import SimulatedRuntime
from node_agent.terminal.shelf import TemplateShelf
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


def runtime_names(wine_container: WineContainerSettings | None) -> list[str]:
    """What the control plane may ask of a node with these settings."""
    return ["simulated", *(["wine_container"] if wine_container else [])]


def installed_engines() -> dict[str, Engine]:
    """By kind of handle, for what is no plain process."""
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
    return {runtime.name: runtime for runtime in runtimes}


def kill(data: Mapping[str, Any]) -> None:
    """Force the end of what a handle names, from any process of this machine. Blocks for 5 s at most.

    A handle of the dead is no error. Raises KeyError or ValueError for what is no handle.
    """
    handle = handle_from_data(data)
    installed_engines().get(handle.kind, Children()).kill(handle)
