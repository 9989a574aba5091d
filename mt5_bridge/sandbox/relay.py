"""The one way out of a sandbox: a socket that leads to the bridge worker of one terminal and nowhere else."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from mt5_bridge.addresses import Address
from mt5_bridge.sandbox.limits import Bucket

MAX_CONNECTIONS: Final = 4
_CHUNK: Final = 64 * 1024
_CONNECT_SECONDS: Final = 5.0
_PIECES_PER_SECOND: Final = 2000.0
"""Of what goes to the worker, whose thread serves others as well."""


class Relay:
    """Listens on `inner` and forwards each connection to `outer`. Both are paths, as `addresses` understands them.

    A worker that starts anew makes its socket anew, which a socket that was bound into a sandbox would not follow.
    """

    def __init__(self, inner: Path, outer: Path) -> None:
        self._inner = Address(path=inner)
        self._outer = Address(path=outer)
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._budget = Bucket(_PIECES_PER_SECOND, _PIECES_PER_SECOND, time.monotonic())
        self._lock = threading.Lock()

    def start(self) -> None:
        """Raises OSError."""
        listener = self._inner.listen()
        if self._inner.is_unix:
            # The folder that it is in is closed to others; inside of the sandbox it is alone.
            os.chmod(str(self._inner.path), 0o666)  # noqa: PTH101,S103
        threading.Thread(target=self._accept, args=(listener,), name="relay", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            near, _ = listener.accept()
            if not self._places.acquire(blocking=False):
                near.close()
                continue
            threading.Thread(target=self._carry, args=(near,), name="relay", daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        try:
            with near, self._outer.connect(_CONNECT_SECONDS) as far:
                far.settimeout(None)
                back = threading.Thread(target=_copy, args=(far, near), name="relay", daemon=True)
                back.start()
                _copy(near, far, self._wait)
                back.join()
        except OSError:
            return  # the worker is away; its client tries again
        finally:
            self._places.release()

    def _wait(self) -> None:
        with self._lock:
            while not self._budget.take(1, time.monotonic()):
                time.sleep(0.005)


def _copy(source: socket.socket, target: socket.socket, wait: object = None) -> None:
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            if callable(wait):
                wait()
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
