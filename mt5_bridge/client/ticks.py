"""A stream of ticks: subscribe, read with a cursor, come back with it after a break."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

from mt5_bridge.client.errors import BridgeError
from mt5_bridge.client.link import Link
from mt5_bridge.tick_stream import Cursor, Ticks, unpack_ticks

_WAIT_SECONDS: Final = 1.0


class TickStream:
    """Ticks of some symbols as they come. The worker reads each symbol once, however many listen.

    `cursors` says how far each symbol has been read; given to a new stream, also of another connection, it goes on
    there with nothing lost and nothing twice. Calls may go on over the same connection meanwhile.
    """

    def __init__(self, link: Link, symbols: tuple[str, ...], cursors: Mapping[str, Cursor]) -> None:
        self._link = link
        self._chunks: deque[bytes] = deque()
        self._cursors: dict[str, Cursor] = {}
        link.share(self._chunks.append)
        for symbol in symbols:
            start = link.call("farm.subscribe", (symbol, *cursors.get(symbol, ())), {}, {})[0]
            if start is None:
                self.close()
                raise BridgeError("no_such_symbol", f"{symbol[:31]} has no ticks in this terminal's Market Watch")
            self._cursors.setdefault(symbol, (int(start[0]), int(start[1])))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[str, Ticks]]:
        """All chunks, until the link breaks (BridgeLost)."""
        while True:
            chunk = self.read(_WAIT_SECONDS)
            if chunk is not None:
                yield chunk

    @property
    def cursors(self) -> dict[str, Cursor]:
        """How far each symbol has been read: time of the last tick (ms), ticks of that millisecond so far."""
        return dict(self._cursors)

    def read(self, timeout: float | None = None) -> tuple[str, Ticks] | None:
        """The next ticks of one symbol, oldest first; None when none came in `timeout` seconds. Raises BridgeLost.

        The array has the dtype of `copy_ticks_*` and is read-only.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._chunks:
            left = _WAIT_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return None
            self._link.wait_for_ticks(left)
        symbol, cursor, ticks = unpack_ticks(self._chunks.popleft())
        self._cursors[symbol] = cursor
        return symbol, ticks

    def close(self) -> None:
        """End the subscriptions; the connection stays."""
        if not self._link.dead:
            self._link.call("farm.unsubscribe", (), {}, {})


def as_cursors(cursors: Mapping[str, Any] | None) -> dict[str, Cursor]:
    """Cursors as they came from a stream, perhaps through JSON."""
    return {symbol: (int(cursor[0]), int(cursor[1])) for symbol, cursor in (cursors or {}).items()}
