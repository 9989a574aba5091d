"""What a bridge worker talks to: the official package in a real terminal, or a simulated terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class Backend(Protocol):
    """One link to one terminal. Used from one thread only."""

    def call(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call a function of the API. Gives what the package gives, raises what it raises.

        `initialize` without arguments links to the terminal that this backend was opened for.
        """
        ...

    def last_error(self) -> tuple[int, str]:
        """The package's `last_error()` for the latest call."""
        ...

    def close(self) -> None:
        """Give up the link. The terminal goes on running."""
        ...


def open_backend(kind: str, options: Mapping[str, Any]) -> Backend:
    """Open a backend by the name in the worker's configuration.

    Raises ValueError for an unknown kind or missing options, ImportError where the kind cannot run.
    """
    if kind == "simulated":
        from mt5_bridge.backends.simulated import SimulatedBackend
        from mt5_bridge.simulated.installations import Installations

        ipc, root = options.get("ipc"), options.get("installations")
        if isinstance(ipc, str):
            return SimulatedBackend(ipc)
        if isinstance(root, str):
            return SimulatedBackend(Installations(Path(root)))
        raise ValueError("the simulated backend needs the option ipc or installations")
    if kind == "native":
        from mt5_bridge.backends.native import NativeBackend

        return NativeBackend(options)
    raise ValueError(f"unknown backend {kind!r}")
