"""The terminal's side of the link to programs beside it: one thread for each program."""

from __future__ import annotations

import logging
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mt5_bridge.addresses import Address
from mt5_bridge.simulated.link import Frames, LinkError, RemoteError, connect, host_port

log = logging.getLogger(__name__)
Handler = Callable[[list[str], str, Any], Any]
"""Takes a program's depth-of-market subscriptions, a verb and its arguments; gives the value or raises RemoteError."""


class IpcError(Exception):
    """An address that cannot be served; the text says why."""


class AnswerLostError(Exception):
    """The link to the program breaks instead of an answer."""


class IpcServer:
    """Accepts programs on `unix:/path` (for this user only) or `host:port` and hands their requests to `handler`."""

    def __init__(self, address: str, handler: Handler) -> None:
        self._handler = handler
        self._path = Path(address.removeprefix("unix:")) if address.startswith("unix:") else None
        self._listener = _listen_unix(self._path) if self._path else _listen_tcp(address)
        self._inode = self._path.stat().st_ino if self._path else 0
        self._open: set[Frames] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def start(self) -> None:
        """Begin to accept."""
        threading.Thread(target=self._accept, name="ipc", daemon=True).start()

    def stop(self) -> None:
        """Close the address and all links."""
        with self._lock:
            self._stopped = True
            links = list(self._open)
        if self._path is not None and self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()
        self._listener.close()
        for frames in links:
            frames.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # stopped
            frames = Frames(connection)
            with self._lock:
                if self._stopped:
                    frames.close()
                    return
                self._open.add(frames)
            threading.Thread(target=self._serve, args=(frames,), name="ipc-program", daemon=True).start()

    def _serve(self, frames: Frames) -> None:
        books: list[str] = []
        try:
            while True:
                number, verb, arguments = frames.receive()
                frames.send((number, *self._answer(books, verb, arguments)))
        except (LinkError, AnswerLostError):
            pass  # the program has gone, or is to think that the terminal has
        finally:
            with self._lock:
                self._open.discard(frames)
            frames.close()

    def _answer(self, books: list[str], verb: Any, arguments: Any) -> tuple[bool, Any]:
        try:
            return True, self._handler(books, verb, arguments)
        except RemoteError as error:
            return False, (error.code, error.text)
        except AnswerLostError:
            raise
        except Exception:
            log.exception("the request %r failed", verb)
            return False, (-10000, "IPC call failed")


def _listen_unix(path: Path) -> socket.socket:
    if path.exists():
        if Address(path).is_unix and not stat.S_ISSOCK(path.stat().st_mode):
            raise IpcError(f"{path} is not a socket; choose another --ipc.")
        try:
            connect(f"unix:{path}", 1.0).close()
        except OSError:
            path.unlink()  # left behind by a terminal that was killed
        else:
            raise IpcError(f"Another terminal answers on {path}; stop it or choose another --ipc.")
    if not Address(path).is_unix:
        return Address(path).listen()
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen()
    except OSError as error:
        listener.close()
        raise IpcError(f"The terminal cannot listen on {path}: {error.strerror or error}.") from error
    finally:
        os.umask(before)
    return listener


def _listen_tcp(address: str) -> socket.socket:
    try:
        return socket.create_server(host_port(address))
    except (OSError, ValueError) as error:
        raise IpcError(f"The terminal cannot listen on {address}: {error}.") from error
