"""A bot's user to start programs as. Wine keeps no users, so there the tests' own token is taken for the user's."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from node_agent.windows.bot_room import GROUP
from node_agent.windows.isolation import new_password
from node_agent.windows.port import Windows

_ALL_OF_A_TOKEN = 0xF01FF


def on_wine() -> bool:
    if sys.platform == "win32":
        import ctypes

        return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
    return False


@contextmanager
def signed_in(windows: Windows) -> Iterator[tuple[str, str]]:
    """Name and password."""
    if on_wine():
        take_own_token()
        yield "nobody", "secret"
        return
    name, password = f"mt5b_{secrets.token_hex(4)}", new_password()
    windows.ensure_user(name, password, (GROUP,))
    try:
        yield name, password
    finally:
        windows.remove_user(name)


def take_own_token() -> None:
    from node_agent.windows import api, confinement, rights

    def open_own(user: str, domain: str, password: str, kind: int, provider: int, token: Any) -> Any:
        return rights._open_token(api.current_process(), _ALL_OF_A_TOKEN, token)

    confinement._logon = open_own
