"""The first program in a bot's room on Windows: finds out whether the room holds, then becomes the module it is told.

`python -P -m node_agent.windows.bot_entry START MODULE ARGUMENTS...`; START is a JSON object of what must be refused:
`closed` files and `fixed` folders by the words for them, which the bot's owner may read, and an `address`.
Nothing here trusts what the keeper has set up: each thing is tried, with the bot's own rights, before the bot's code
is there. Only a plain refusal counts. Needs the standard library alone.
"""

from __future__ import annotations

import json
import runpy
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

HELD: Final = "the room holds"
"""First line of a bot whose room does. Anything else is the reason why it does not."""
NOT_HELD: Final = 4
"""Exit code."""
_CONNECT_SECONDS: Final = 2.0


def openings(start: dict[str, Any]) -> Iterator[str]:
    """Each way out that was found, as half a sentence."""
    for words, path in start["closed"].items():
        yield from _permitted(f"{words} can be read", partial(_read, Path(path)))
    for words, path in start["fixed"].items():
        yield from _permitted(f"{words} can be written to", partial(_write, Path(path)))
    host, port = start["address"]
    yield from _reachable(host, port)
    yield from _startable()


def _permitted(what: str, attempt: Callable[[], object]) -> Iterator[str]:
    try:
        attempt()
    except PermissionError:
        return
    except OSError as error:
        yield f"whether {what} cannot be told ({type(error).__name__})"
    else:
        yield what


def _read(path: Path) -> None:
    path.open("rb").close()


def _write(folder: Path) -> None:
    trial = folder / f".mt5farm-{secrets.token_hex(8)}"
    trial.open("xb").close()
    trial.unlink()


def _reachable(host: str, port: int) -> Iterator[str]:
    """The firewall of Windows refuses at once (WSAEACCES); any other outcome means that it did not."""
    for kind, word in ((socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")):
        try:
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.settimeout(_CONNECT_SECONDS)
                sock.connect((host, port))
                if kind == socket.SOCK_DGRAM:
                    sock.send(b"\0")
        except PermissionError:
            continue
        except OSError as error:
            yield f"the network is not refused by {word} ({type(error).__name__}: {error})"
        else:
            yield f"the network can be reached by {word}"


def _startable() -> Iterator[str]:
    try:
        with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL) as child:
            child.kill()
    except OSError:
        return
    yield "other programs can be started"


def main(arguments: list[str]) -> None:
    """Exits with `NOT_HELD` when the room does not hold. What the module raises passes through."""
    start, module, *rest = arguments
    found = list(openings(json.loads(start)))
    sys.stdout.write(f"{'; '.join(found) or HELD}\n")
    sys.stdout.flush()
    if found:
        sys.exit(NOT_HELD)
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
