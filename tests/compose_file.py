"""docker-compose.yml as data: the services' commands and environment, with names and ports of another place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parent.parent / "docker-compose.yml"
ENTRYPOINT = ["mt5farm"]
"""Of the image; a test compares it with the Dockerfile."""


@dataclass(frozen=True)
class Service:
    argv: list[str]
    environment: dict[str, str]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def service(name: str, places: Mapping[str, str]) -> Service:
    """As the container would be started, with each of `places` put in for what it stands for in the file."""
    described = compose()["services"][name]

    pattern = re.compile("|".join(map(_whole, places)))

    def here(value: str) -> str:
        unset = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        return pattern.sub(lambda found: places[found[0]], unset)

    argv = [*described.get("entrypoint", ENTRYPOINT), *described["command"]]
    environment = {key: here(str(value)) for key, value in described.get("environment", {}).items()}
    return Service([here(part) for part in argv], environment)


def _whole(text: str) -> str:
    """Not as a part of a longer number or word."""
    before = r"(?<![\w.])" if text[0].isalnum() else ""
    return before + re.escape(text) + (r"\b" if text[-1].isalnum() else "")
