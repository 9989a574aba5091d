"""Runs an unmodified script or module that says `import MetaTrader5 as mt5` against a terminal of the farm."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mt5_bridge.client.module import Open, install
from mt5_bridge.client.terminal import MetaTrader5
from mt5_bridge.worker_config import ConfigError, load_object, read_token, required


def load_connection(source: str) -> dict[str, Any]:
    """Read a connection: a file, or standard input for '-'. Raises ConfigError."""
    if source != "-":
        return load_object(Path(source))
    try:
        data = json.loads(sys.stdin.readline())
    except ValueError as error:
        raise ConfigError("standard input holds no JSON object on its first line") from error
    if not isinstance(data, dict):
        raise ConfigError("standard input holds no JSON object on its first line")
    return data


def open_connection(data: Mapping[str, Any]) -> MetaTrader5:
    """The terminal of a connection, as unconnected as the package is before `initialize`.

    Raises ConfigError for a bad connection, BridgeError when refused, BridgeLost when unreachable.
    """
    try:
        if "ticket" in data:
            return MetaTrader5(
                required(data, "gateway", str),
                ticket=required(data, "ticket", str),
                ca=required(data, "ca_pem", str),
                server_name=required(data, "server_name", str),
                initialized=False,
                compat=True,
            )
        return MetaTrader5(
            required(data, "address", str),
            token=read_token(Path(required(data, "token_file", str))),
            scope=data.get("scope", "read"),
            epoch=required(data, "epoch", int),
            principal=data.get("principal", "service:script"),
            initialized=False,
            compat=True,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def open_connections(sources: Sequence[str]) -> tuple[MetaTrader5, dict[str, Open]]:
    """The first connection opened, and all that have a name (`NAME=FILE`) to be opened by it."""
    named: dict[str, Open] = {}
    first: MetaTrader5 | None = None
    for source in sources:
        name, separator, file = source.partition("=")
        if not separator or Path(source).exists():
            name, file = "", source
        if first is None:
            first = terminal = open_connection(load_connection(file))
            if name:
                named[name] = partial(_same, terminal)
        elif name:
            named[name] = partial(open_connection, load_connection(file))
        else:
            raise ConfigError("every connection but the first needs a name: NAME=FILE")
    if first is None:
        raise ConfigError("there is no connection")
    return first, named


def _same(terminal: MetaTrader5) -> MetaTrader5:
    return terminal


def run_script(
    script: Path, arguments: Sequence[str], terminal: MetaTrader5, others: Mapping[str, Open] | None = None
) -> None:
    """Run the script as `python script arguments` would. What it raises, SystemExit too, passes through."""
    install(terminal, others)
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    runpy.run_path(str(script), run_name="__main__")


def run_module(
    module: str, arguments: Sequence[str], terminal: MetaTrader5, others: Mapping[str, Open] | None = None
) -> None:
    """Run the module as `python -m module arguments` would. What it raises, SystemExit too, passes through."""
    install(terminal, others)
    sys.argv = [module, *arguments]
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_module(module, run_name="__main__", alter_sys=True)
