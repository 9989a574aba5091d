"""A terminal's link to its broker: logs in, stays logged in, and knows how the login stands."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from mt5_bridge.simulated.link import ALGO_TRADING, Frames, LinkError, RemoteError, Requester, connect
from mt5_bridge.simulated.terminal_folder import Credentials, Journal

REFUSED = (-6, "Terminal: Authorization failed")
_CONNECT_SECONDS = 5.0
_LOGIN_SECONDS = 10.0
_PING_EVERY = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class LoginState(StrEnum):
    """How the login stands."""

    CONNECTING = "connecting"
    AUTHORISED = "authorised"
    REFUSED = "refused"


class BrokerLink:
    """Keeps one login alive from a thread of its own, with pauses between tries that double up to two seconds.

    A refused login is not repeated: brokers lock accounts. `on_login` gets the broker's symbols after each login,
    and the key of its board of quotes or None.
    """

    def __init__(
        self,
        address_of: Callable[[str], str | None],
        journal: Journal,
        on_login: Callable[[tuple[str, ...], Any], None],
        on_algo_trading: Callable[[bool], None],
    ) -> None:
        self.session = secrets.token_hex(16)
        self._address_of = address_of
        self._journal = journal
        self._on_login = on_login
        self._on_algo_trading = on_algo_trading
        self._refusal = REFUSED
        self._changed = threading.Condition()
        self._state = LoginState.CONNECTING
        self._credentials: Credentials | None = None
        self._wish = 0  # counts changes of the credentials
        self._requester: Requester | None = None
        self._stopping = False
        self._complaint = ""
        self._thread = threading.Thread(target=self._keep, name="broker-link", daemon=True)

    def start(self, credentials: Credentials | None) -> None:
        """Begin, with the account of the start-up file if there is one."""
        self._credentials = credentials
        self._thread.start()

    def stop(self) -> None:
        """Log out and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            requester = self._requester
        if requester is not None:
            requester.close()
        self._thread.join(_CONNECT_SECONDS)

    @property
    def state(self) -> LoginState:
        """How the login stands now."""
        with self._changed:
            return self._state

    @property
    def refusal(self) -> tuple[int, str]:
        """Code and text with which the broker refused the login."""
        with self._changed:
            return self._refusal

    @property
    def credentials(self) -> Credentials | None:
        """The account that is, or should be, logged in."""
        with self._changed:
            return self._credentials

    def log_in(self, credentials: Credentials) -> None:
        """Switch to an account; `wait` tells how it ends."""
        with self._changed:
            if credentials == self._credentials and self._state is LoginState.AUTHORISED:
                return
            self._credentials = credentials
            self._state = LoginState.CONNECTING
            self._wish += 1
            self._complaint = ""
            self._changed.notify_all()
            requester = self._requester
        if requester is not None:
            requester.close()

    def wait(self, timeout: float) -> LoginState:
        """Wait until the login is decided, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._state is not LoginState.CONNECTING or self._stopping, timeout)
            return self._state

    def request(self, verb: str, *arguments: Any, timeout: float) -> Any:
        """Ask the broker. Raises LinkError without a login or when the link breaks, RemoteError for its refusals."""
        with self._changed:
            requester = self._requester if self._state is LoginState.AUTHORISED else None
        if requester is None:
            raise LinkError("no link to the broker")
        return requester.request(verb, *arguments, timeout=timeout)

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                if self._stopping:
                    return
                credentials, wish = self._credentials, self._wish
                idle = credentials is None or self._state is LoginState.REFUSED
                if idle:
                    self._changed.wait()
                    continue
            assert credentials is not None
            requester = self._try(credentials, wish)
            if requester is None:
                self._pause(pause, wish)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._watch(requester)

    def _watch(self, requester: Requester) -> None:
        """Wait for the end of the link; a broker that does not answer a ping in time has vanished."""
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._requester is None, _PING_EVERY):
                    return
            with contextlib.suppress(LinkError):
                requester.request("ping", timeout=_LOGIN_SECONDS)

    def _pause(self, seconds: float, wish: int) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._wish != wish or self._stopping or self._state is LoginState.REFUSED, seconds
            )

    def _try(self, credentials: Credentials, wish: int) -> Requester | None:
        """One try to log in; the open link on success."""
        who, server = f"'{credentials.login}'", credentials.server
        address = self._address_of(server)
        if address is None:
            self._complain(f"{who}: server {server} is not known, no connection")
            return None
        begun = time.monotonic()
        try:
            frames = Frames(connect(address, _CONNECT_SECONDS))
        except (OSError, ValueError):
            self._complain(f"{who}: no connection to {server}")
            return None
        frames.set_timeout(None)
        requester = Requester(frames, self._on_notice, self._closed)
        try:
            requester.request(
                "login", credentials.login, credentials.password, server, self.session, timeout=_LOGIN_SECONDS
            )
            symbols = requester.request("symbols", timeout=_LOGIN_SECONDS)
            board = requester.request("board", timeout=_LOGIN_SECONDS)
        except RemoteError as error:
            requester.close()
            self._journal.write("Network", f"{who}: authorization on {server} failed (Invalid account)", severity=2)
            self._refuse(wish, (error.code, error.text))
            return None
        except LinkError:
            requester.close()
            self._complain(f"{who}: no connection to {server}")
            return None
        self._on_login(symbols, board)
        with self._changed:
            if self._wish != wish or self._stopping or requester.closed:
                requester.close()
                return None
            self._requester = requester
            self._state = LoginState.AUTHORISED
            self._changed.notify_all()
        self._complaint = ""
        ping = (time.monotonic() - begun) * 1000
        self._journal.write("Network", f"{who}: authorized on {server} (ping: {ping:.2f} ms)")
        return requester

    def _refuse(self, wish: int, refusal: tuple[int, str]) -> None:
        with self._changed:
            if self._wish == wish:
                self._refusal = refusal
                self._state = LoginState.REFUSED
                self._changed.notify_all()

    def _closed(self, requester: Requester) -> None:
        with self._changed:
            if self._requester is not requester:
                return  # it ended before it was ours; `_try` has seen that
            self._requester = None
            lost = self._state is LoginState.AUTHORISED and not self._stopping
            if lost:
                self._state = LoginState.CONNECTING
            credentials = self._credentials
            self._changed.notify_all()
        if lost and credentials is not None:
            self._journal.write(
                "Network", f"'{credentials.login}': connection to {credentials.server} lost", severity=1
            )

    def _on_notice(self, notice: Any) -> None:
        match notice:
            case str():
                self._journal.write("Server", notice)
            case (str(word), bool(on)) if word == ALGO_TRADING:
                self._on_algo_trading(on)

    def _complain(self, text: str) -> None:
        """One journal line for one trouble, not one for each try."""
        if text != self._complaint:
            self._complaint = text
            self._journal.write("Network", text, severity=1)
