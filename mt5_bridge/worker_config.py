"""The worker's configuration file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mt5_bridge.addresses import Address, parse_address
from mt5_bridge.guard import Guard, parse_guard
from mt5_bridge.guard_memory import Memory, parse_memory

T = TypeVar("T")


class ConfigError(Exception):
    """The file cannot be used. The message is one sentence without secrets."""


@dataclass(frozen=True)
class WorkerConfig:
    """What one worker serves, and how."""

    terminal_id: str
    epoch: int
    listen: Address
    backend: str
    backend_options: Mapping[str, Any]
    login: int
    server: str
    journal: Path
    token_file: Path
    guard: Guard
    log_file: Path
    lease_file: Path | None = None
    """Names the end of the permission to trade, see `lease`; while the file does not exist there is no end."""
    guard_memory: Memory | None = None
    """What the farm remembers of the account's guard, for a worker in a folder that has none of its own."""


def load_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ConfigError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a JSON object")
    return data


def required(data: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A value of a configuration object. Raises ConfigError when it is absent or of another type."""
    value = data.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise ConfigError(f"the configuration needs {name!r} of type {kind.__name__}")
    return value


def read_token(path: Path) -> str:
    """The local secret in a file. Raises ConfigError."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read the token file {path}") from error
    if len(token) < 16:
        raise ConfigError(f"the token file {path} holds no token")
    return token


def load_worker_config(path: Path) -> WorkerConfig:
    """Read the worker's configuration. Raises ConfigError."""
    data = load_object(path)
    try:
        listen = parse_address(required(data, "listen", str))
        guard = parse_guard(data.get("guard", {}))
        memory = data.get("guard_memory")
        remembered = None if memory is None else parse_memory(memory)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(str(error)) from error
    if not listen.loopback:
        raise ConfigError("a worker listens on a Unix socket or on loopback only; the gateway is the edge")
    lease = data.get("lease_file")
    if lease is not None and not isinstance(lease, str):
        raise ConfigError("lease_file must be a path")
    return WorkerConfig(
        terminal_id=required(data, "terminal_id", str),
        epoch=required(data, "epoch", int),
        listen=listen,
        backend=required(data, "backend", str),
        backend_options=required(data, "backend_options", dict),
        login=required(data, "login", int),
        server=required(data, "server", str),
        journal=Path(required(data, "journal", str)),
        token_file=Path(required(data, "token_file", str)),
        guard=guard,
        log_file=Path(required(data, "log_file", str)),
        lease_file=None if lease is None else Path(lease),
        guard_memory=remembered,
    )
