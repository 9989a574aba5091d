"""A TCP link that can be cut and mended: what was connected breaks, and nothing new gets through meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading

CHUNK = 65_536


class Link:
    """Listens on a port of its own and passes bytes on to `target` while it is whole."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._whole = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        with self._lock:
            self._whole = False
            for end in self._open:
                _break(end)

    def mend(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._whole = True

    def close(self) -> None:
        """Accept no more."""
        self.cut()
        with contextlib.suppress(OSError):  # wakes the accepting thread
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target, 5.0)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            if not self._register(near, far):
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _register(self, *ends: socket.socket) -> bool:
        with self._lock:
            if self._whole:
                self._open.update(ends)
                return True
        for end in ends:
            end.close()
        return False

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                sink.sendall(data)
        for end in (source, sink):
            _break(end)
        with self._lock:
            self._open.discard(source)
        source.close()


def _break(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        end.shutdown(socket.SHUT_RDWR)
