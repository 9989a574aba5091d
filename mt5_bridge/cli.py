"""`mt5farm-bridge`: run a script against a terminal, or run one of the bridge's processes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USAGE: Final = """usage: mt5farm-bridge COMMAND ...

commands:
  run SCRIPT|-m MODULE --connection [NAME=]FILE|- [ARGUMENT ...]
                    run a script or module that says `import MetaTrader5` against a terminal of the farm; FILE holds
                    the JSON of a ticket, or {"address": "unix:/path", "token_file": "...", "scope": "read|trade",
                    "epoch": N}; with more connections, `initialize(NAME)` turns to another terminal
  worker --config FILE
                    serve one terminal
  terminal ...      run a simulated terminal
  broker ...        run the simulated broker
  broker status|pause|resume|step|speed --address HOST:PORT --data DIR
                    look at the market of a running broker, or say how its time runs
  history export|import ...
                    save the ticks and bars of a terminal, or bring files of history into shape for a replay
  bot --config FILE
                    run one bot
  backtest STRATEGY --history PATH --symbol NAME ...
                    test a strategy on recorded history, or search its parameters
"""
CONNECTION: Final = "--connection"


class UsageError(Exception):
    """The command line cannot be understood."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit code 2 for bad arguments, 1 for a terminal that cannot be reached, else the command's own."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in {"-h", "--help"}:
        sys.stdout.write(USAGE)
        return 0 if given else 2
    command, rest = given[0], given[1:]
    if command not in _COMMANDS:
        sys.stderr.write(f"mt5farm-bridge: there is no command {command!r}\n{USAGE}")
        return 2
    return _COMMANDS[command](rest)


@dataclass(frozen=True)
class Run:
    """What `run` is asked to run, against which terminals."""

    target: str
    is_module: bool
    connections: tuple[str, ...]
    arguments: tuple[str, ...]


def split_run(arguments: Sequence[str]) -> Run:
    """Read the arguments of `run`. Raises UsageError.

    `--connection` may stand anywhere before `--`; everything else after the script or module is its own.
    """
    own, tail = list(arguments), list[str]()
    if "--" in own:
        position = own.index("--")
        own, tail = own[:position], own[position + 1 :]
    connections, rest = list[str](), list[str]()
    values = iter(own)
    for value in values:
        if value == CONNECTION:
            connections.append(next(values, ""))
        elif value.startswith(f"{CONNECTION}="):
            connections.append(value.removeprefix(f"{CONNECTION}="))
        else:
            rest.append(value)
    rest += tail
    is_module = rest[:1] == ["-m"]
    rest = rest[is_module:]
    if not rest or not connections or not all(connections):
        raise UsageError(f"run needs a script and {CONNECTION} FILE")
    return Run(rest[0], is_module, tuple(connections), tuple(rest[1:]))


def _run(arguments: Sequence[str]) -> int:
    from mt5_bridge.client.errors import BridgeError, BridgeLost
    from mt5_bridge.client.run import open_connections, run_module, run_script
    from mt5_bridge.worker_config import ConfigError

    try:
        run = split_run(arguments)
        if not run.is_module and not Path(run.target).is_file():
            raise UsageError(f"there is no script {run.target}")  # noqa: TRY301 - one way out for bad arguments
        terminal, others = open_connections(run.connections)
    except (UsageError, ConfigError) as error:
        sys.stderr.write(f"mt5farm-bridge run: {error}\n")
        return 2
    except (BridgeError, BridgeLost) as error:
        sys.stderr.write(f"mt5farm-bridge run: {error}\n")
        return 1
    with terminal:
        try:
            if run.is_module:
                run_module(run.target, run.arguments, terminal, others)
            else:
                run_script(Path(run.target), run.arguments, terminal, others)
        except Exception:  # noqa: BLE001 - the script's own failure, shown as Python shows it
            traceback.print_exc()
            return 1
    return 0


def _worker(arguments: Sequence[str]) -> int:
    from mt5_bridge.worker import main as run

    return run(arguments)


def _bot(arguments: Sequence[str]) -> int:
    from mt5_bridge.strategies.runner import main as run

    return run(arguments)


def _terminal(arguments: Sequence[str]) -> int:
    from mt5_bridge.simulated.terminal import main as run

    return run(arguments)


def _broker(arguments: Sequence[str]) -> int:
    from mt5_bridge.simulated import market_command, server

    if arguments and arguments[0] in market_command.VERBS:
        return market_command.main(arguments)
    return server.main(arguments)


def _history(arguments: Sequence[str]) -> int:
    from mt5_bridge.history.command import main as run

    return run(arguments)


def _backtest(arguments: Sequence[str]) -> int:
    from mt5_bridge.strategies.backtest.command import main as run

    return run(arguments)


_COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "run": _run,
    "worker": _worker,
    "terminal": _terminal,
    "broker": _broker,
    "bot": _bot,
    "history": _history,
    "backtest": _backtest,
}

if __name__ == "__main__":
    sys.exit(main())
