"""The hello: one line of JSON each way before RPyC starts, so that nothing of a stranger's is ever parsed by it."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Final

from mt5_bridge.contract import Scope

VERSION: Final = 1
MAX_LINE: Final = 4096
TIMEOUT_SECONDS: Final = 5.0
AGENT: Final = "agent"
"""The principal of the node's agent, the only one that may configure a worker."""
BOT_PREFIX: Final = "bot:"


class HelloError(Exception):
    """A greeting that failed. `code` is stable and `message` is safe to show."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Hello:
    """What a client of a worker says of itself."""

    token: str
    scope: Scope
    epoch: int
    principal: str


def parse_hello(line: bytes) -> Hello:
    """Read the worker's hello line. Raises HelloError malformed_hello."""
    try:
        data = json.loads(line)
        hello = Hello(data["token"], Scope(data["scope"]), data["epoch"], data["principal"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise HelloError("malformed_hello", "the greeting is not what this port expects") from error
    if data.get("v") != VERSION or not _well_formed(hello):
        raise HelloError("malformed_hello", "the greeting is not what this port expects")
    return hello


def _well_formed(hello: Hello) -> bool:
    # The fields come from JSON and may be anything.
    texts: tuple[object, object] = (hello.token, hello.principal)
    if not all(isinstance(text, str) and text.isprintable() and 0 < len(text) <= 200 for text in texts):
        return False
    return type(hello.epoch) is int and hello.token.isascii()


def bot_token(token: str, principal: str) -> str:
    """The token of one bot, made of the worker's: it opens sessions as `principal` (`bot:<id>`) and as nobody else."""
    return hmac.new(token.encode(), principal.encode(), hashlib.sha256).hexdigest()


def check_hello(hello: Hello, token: str, epoch: int) -> None:
    """Whether the worker of this epoch should talk to the client. Raises HelloError bad_token or stale_epoch.

    A bot comes with a token of its own, everyone else with the worker's. The agent may come with a higher epoch, to
    raise the worker's by configuration.
    """
    expected = bot_token(token, hello.principal) if hello.principal.startswith(BOT_PREFIX) else token
    if not hmac.compare_digest(hello.token.encode(), expected.encode()):
        raise HelloError("bad_token", "the token is not this worker's")
    if hello.epoch < epoch:
        raise HelloError("stale_epoch", "the terminal has been assigned anew since this permission was given")
    if hello.epoch > epoch and hello.principal != AGENT:
        raise HelloError("stale_epoch", "this worker serves an older assignment of the terminal")


def read_line(sock: socket.socket, timeout: float = TIMEOUT_SECONDS) -> bytes:
    """One line of at most MAX_LINE bytes within `timeout` seconds in all, without reading anything past it.

    Raises HelloError malformed_hello or hello_timeout.
    """
    deadline = time.monotonic() + timeout
    line = bytearray()
    try:
        while not line.endswith(b"\n"):
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            # Byte by byte: what follows the line belongs to RPyC, and TLS sockets cannot peek.
            byte = sock.recv(1)
            if not byte or len(line) >= MAX_LINE:
                raise HelloError("malformed_hello", "the greeting is not one line of text")
            line += byte
    except TimeoutError as error:
        raise HelloError("hello_timeout", "the greeting did not come in time") from error
    except OSError as error:
        raise HelloError("malformed_hello", "the connection broke during the greeting") from error
    return bytes(line)


def send_line(sock: socket.socket, data: dict[str, Any], timeout: float = TIMEOUT_SECONDS) -> None:
    """Send one line of JSON. Raises OSError."""
    sock.settimeout(timeout)
    sock.sendall(json.dumps(data, separators=(",", ":")).encode() + b"\n")


def greet(sock: socket.socket, hello: dict[str, Any], timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """Say hello as a client and give the server's answer. Raises HelloError when it refuses."""
    try:
        send_line(sock, {"v": VERSION, **hello}, timeout)
    except OSError as error:
        raise HelloError("malformed_hello", "the connection broke during the greeting") from error
    return check_answer(read_line(sock, timeout))


def check_answer(line: bytes) -> dict[str, Any]:
    """Read the server's answer to a hello. Raises HelloError when it refuses."""
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise HelloError("malformed_hello", "the server answered the greeting with something else") from error
    if not isinstance(answer, dict) or answer.get("ok") is not True:
        refusal = answer if isinstance(answer, dict) else {}
        raise HelloError(str(refusal.get("code", "malformed_hello")), str(refusal.get("message", "refused")))
    return answer
