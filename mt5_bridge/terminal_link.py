"""The worker's link to its terminal: made, watched, made again. Says whether the right account is behind it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mt5_bridge.arguments import NO_CONNECTION, SUCCESS
from mt5_bridge.backends import Backend
from mt5_bridge.contract import FUNCTIONS
from mt5_bridge.executor import BusyError, DeadlineError, Executor

log = logging.getLogger(__name__)

INITIALIZE_TIMEOUT_MS: Final = 10_000
LINK_ERRORS: Final = range(-10005, -9999)
"""Codes of last_error() after which the package answers nothing until initialize."""


@dataclass(frozen=True)
class Account:
    """The account that this worker serves. Every other account behind the link is a fault."""

    login: int
    server: str

    def matches(self, account_info: Any) -> bool:
        """Whether an answer of account_info() is of this account."""
        return account_info is not None and account_info.login == self.login and account_info.server == self.server


class TerminalLink:
    """`call` belongs to the executor's thread; the properties may be read from any thread."""

    def __init__(self, backend: Backend, executor: Executor, account: Account, clock: Callable[[], float]) -> None:
        self._backend = backend
        self._executor = executor
        self._account = account
        self._clock = clock
        self._linked = False
        self.linked = False
        """Whether the terminal answers and has the right account."""
        self._connected_since: float | None = None
        self._error: tuple[int, str] = NO_CONNECTION
        self._wrong_account = False
        self.needs_check = threading.Event()

    @property
    def wrong_account(self) -> bool:
        """Whether another account is signed in to the terminal."""
        return self._wrong_account

    @property
    def connected_for(self) -> float:
        """Seconds for which terminal, account and broker have been connected; 0 when they are not."""
        since = self._connected_since
        return 0.0 if since is None else max(0.0, self._clock() - since)

    @property
    def connected(self) -> bool:
        """Whether terminal, account and broker are connected."""
        return self._connected_since is not None

    @property
    def error(self) -> tuple[int, str]:
        """Why there is no link, as last_error() said; (1, 'Success') when there is one."""
        return SUCCESS if self._linked else self._error

    def call(self, function: str, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Call the terminal. On the executor's thread only."""
        return self.ask(function, args, kwargs or {})[0]

    def ask(self, function: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, tuple[int, str]]:
        """The terminal's answer and its last_error(). On the executor's thread only."""
        backend = self._backend
        try:
            value = backend.call(function, args, kwargs)
        except BaseException:
            self._see(backend.last_error())
            raise
        error = backend.last_error()
        if error[0] in LINK_ERRORS:
            self._lose(error)
        return value, error

    def struct(self, function: str, *args: Any) -> Any:
        """A struct of the terminal or None, after which its last_error() is looked at. On the executor's thread."""
        try:
            value = self._backend.call(function, args, {})
        except BaseException:
            self._see(self._backend.last_error())
            raise
        if value is None:
            self._see(self._backend.last_error())
        return value

    def check(self) -> None:
        """Make the link if there is none, else see whether it is sound. From the housekeeping thread."""
        self.needs_check.clear()
        function, work = ("terminal_info", self._inspect) if self._linked else ("initialize", self._initialize)
        try:
            self._executor.run(function, FUNCTIONS[function].deadline, work)
        except (BusyError, DeadlineError):
            log.warning("the queue is too long to check the terminal")

    def _initialize(self) -> None:
        if self._backend.call("initialize", (), {"timeout": INITIALIZE_TIMEOUT_MS}):
            log.info("linked to the terminal")
            self._linked = self.linked = True
            self._inspect()
            return
        error = self._backend.last_error()
        if error != self._error:
            log.warning("no link to the terminal: %s %s", *error)
        self._error = error

    def _inspect(self) -> None:
        terminal = self.call("terminal_info")
        account = self.call("account_info")
        if not self._linked or terminal is None:
            self._connected_since = None
            return
        # Before an account is authorised login is 0 or there is no answer: that is not another account.
        self._wrong_account = account is not None and account.login != 0 and not self._account.matches(account)
        self.linked = not self._wrong_account
        if not terminal.connected or not self._account.matches(account):
            self._connected_since = None
        elif self._connected_since is None:
            self._connected_since = self._clock()

    def _see(self, error: tuple[int, str]) -> None:
        if error[0] in LINK_ERRORS:
            self._lose(error)

    def _lose(self, error: tuple[int, str]) -> None:
        if self._linked:
            log.warning("lost the terminal: %s %s", *error)
        self._linked = self.linked = False
        self._wrong_account = False
        self._connected_since = None
        self._error = error
        self.needs_check.set()
