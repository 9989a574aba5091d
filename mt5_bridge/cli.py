"""`mt5farm-bridge`: run a script against a terminal, or run one of the bridge's processes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

USAGE: Final = """usage: mt5farm-bridge COMMAND ...

commands:
  run SCRIPT --connection FILE|- [ARGUMENT ...]
                    run a script that says `import MetaTrader5` against a terminal of the farm; FILE holds the JSON of a
                    ticket, or {"address": "unix:/path", "token_file": "...", "scope": "read|trade", "epoch": N}
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


def split_run(arguments: Sequence[str]) -> tuple[str, str, list[str]]:
    """The script, the connection and the script's own arguments. Raises UsageError.

    `--connection` may stand anywhere before `--`; everything else after the script is the script's.
    """
    own, separator, tail = list(arguments), False, list[str]()
    if "--" in own:
        position = own.index("--")
        own, separator, tail = own[:position], True, own[position + 1 :]
    connection, rest = None, list[str]()
    values = iter(own)
    for value in values:
        if connection is None and value == CONNECTION:
            connection = next(values, None)
        elif connection is None and value.startswith(f"{CONNECTION}="):
            connection = value.partition("=")[2]
        else:
            rest.append(value)
    rest += tail if separator else []
    if not connection or not rest:
        raise UsageError(f"run needs a script and {CONNECTION} FILE")
    return rest[0], connection, rest[1:]


def _run(arguments: Sequence[str]) -> int:
    from mt5_bridge.client.errors import BridgeError, BridgeLost
    from mt5_bridge.client.run import load_connection, open_connection, run_script
    from mt5_bridge.worker_config import ConfigError

    try:
        script, connection, rest = split_run(arguments)
        if not Path(script).is_file():
            raise UsageError(f"there is no script {script}")  # noqa: TRY301 - one way out for bad arguments
        terminal = open_connection(load_connection(connection))
    except (UsageError, ConfigError) as error:
        sys.stderr.write(f"mt5farm-bridge run: {error}\n")
        return 2
    except (BridgeError, BridgeLost) as error:
        sys.stderr.write(f"mt5farm-bridge run: {error}\n")
        return 1
    with terminal:
        try:
            run_script(Path(script), rest, terminal)
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


_COMMANDS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "run": _run,
    "worker": _worker,
    "terminal": _terminal,
    "broker": _broker,
    "bot": _bot,
    "history": _history,
}

if __name__ == "__main__":
    sys.exit(main())
