"""Opens the farm of a data folder for a command. What `serve` was last given is remembered there for the others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.config import Settings
from control_plane.container import Farm, build_farm

Data = Annotated[Path, typer.Option("--data", help="Folder of everything the control plane keeps.")]


def open_farm(data: Path, *, remember: bool = False, **given: Any) -> Farm:
    """Raises ConfigurationError when it cannot be used."""
    chosen = {key: value for key, value in given.items() if value is not None}
    memory = data / "served.json"
    settings = Settings(data=data, **chosen) if remember else Settings(data=data, **_remembered(memory), **chosen)
    farm = build_farm(settings)
    if remember:
        _remember(memory, settings)
    return farm


def _remembered(memory: Path) -> dict[str, Any]:
    try:
        found = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}  # nothing is served yet, or the file is damaged: the next `serve` writes it anew
    return found if isinstance(found, dict) else {}


def _remember(memory: Path, settings: Settings) -> None:
    """Whole or not at all: a full disk must not leave a half that nobody can read."""
    draft = memory.with_name(f".{memory.name}.{os.getpid()}")
    draft.write_text(json.dumps({"agent_host": settings.agent_host, "agent_port": settings.agent_port}))
    draft.replace(memory)
