"""Ticks as they come, for any number of subscribers, from one reading of the terminal.

A cursor says how far somebody has read a symbol: the time of the last tick (ms) and how many ticks of that very
millisecond are behind it. It means the same to every worker of the terminal, before and after a restart, so a
subscriber that comes back with its cursor misses nothing and gets nothing twice.

The body of a TICKS frame: length of the symbol (B), the cursor behind these ticks (qI), the symbol, the rows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.sessions import Session, SessionLoop
from mt5_bridge.structs import TICKS_DTYPE
from mt5_bridge.transport import TICKS, FrameError, frame

POLL_SECONDS: Final = 0.02
READ_LIMIT: Final = 10_000
"""Ticks of one reading, doubled while one second holds more."""
_MANY: Final = 1_000
"""After so many at once the next are read without a pause."""
_MOST: Final = 1 << 20
_ALL: Final = -1
_HEAD: Final = struct.Struct("!BqI")
Ticks = npt.NDArray[Any]
Cursor = tuple[int, int]
Ask = Callable[[str, tuple[Any, ...]], Any]


def pack_ticks(symbol: str, cursor: Cursor, ticks: Ticks) -> bytes:
    """A TICKS frame."""
    name = symbol.encode()
    return frame(TICKS, _HEAD.pack(len(name), *cursor) + name + ticks.tobytes())


def unpack_ticks(body: bytes) -> tuple[str, Cursor, Ticks]:
    """Symbol, cursor and read-only ticks of a frame's body. Raises FrameError."""
    try:
        length, msc, count = _HEAD.unpack_from(body)
        start = _HEAD.size + length
        return str(body[_HEAD.size : start], "utf-8"), (msc, count), np.frombuffer(body, TICKS_DTYPE, offset=start)
    except (struct.error, ValueError) as error:
        raise FrameError("not ticks") from error


@dataclass(eq=False)
class Subscriber:
    """One session that wants a symbol."""

    session: Session
    cursor: Cursor
    permitted: Callable[[], bool]


@dataclass
class Feed:
    """One symbol and how far it has been read for all who keep up."""

    cursor: Cursor
    last: Any = None
    subscribers: dict[Session, Subscriber] = field(default_factory=dict)


class TickBoard:
    """Everything on the terminal's thread. `ask` calls the terminal and gives None when it cannot."""

    def __init__(self, ask: Ask, loop: SessionLoop) -> None:
        self._ask = ask
        self._loop = loop
        self._feeds: dict[str, Feed] = {}
        self._due = 0.0

    def subscribe(
        self, session: Session, symbol: str, cursor: Cursor | None, permitted: Callable[[], bool]
    ) -> Cursor | None:
        """Send the session what comes after `cursor`, or from now on. The cursor; None when there is no such symbol."""
        start = cursor or self._newest(symbol)
        if start is None:
            return None
        feed = self._feeds.setdefault(symbol, Feed(start))
        feed.subscribers[session] = Subscriber(session, start, permitted)
        self._due = 0.0
        self._loop.timer = self.turn
        return start

    def unsubscribe(self, session: Session, symbol: str | None = None) -> None:
        """Send the session no more of a symbol, or of any."""
        for name in [symbol] if symbol is not None else list(self._feeds):
            feed = self._feeds.get(name)
            if feed is not None:
                feed.subscribers.pop(session, None)
                if not feed.subscribers:
                    del self._feeds[name]
        if not self._feeds:
            self._loop.timer = None

    def turn(self, now: float) -> float | None:
        """Read and send what is due. In how many seconds to come again; None while nobody listens."""
        if not self._feeds:
            return None
        if now < self._due:
            return self._due - now
        more, self._due = False, now + POLL_SECONDS
        for symbol, feed in list(self._feeds.items()):
            more |= self._advance(symbol, feed)
        if more:
            self._due = now
        return self._due - now

    def _advance(self, symbol: str, feed: Feed) -> bool:
        """Read the symbol once for all who are up to date; True when the next should be read at once."""
        before = feed.cursor
        tick = self._ask("symbol_info_tick", (symbol,))
        fresh, after = None, before
        if tick is not None and tick != feed.last:
            fresh, after = self._read(symbol, before)
            feed.cursor, feed.last = after, tick
        packed = pack_ticks(symbol, after, fresh) if fresh is not None and len(fresh) else None
        for subscriber in list(feed.subscribers.values()):
            if not subscriber.permitted():
                self.unsubscribe(subscriber.session, symbol)
            elif subscriber.session.has_room():
                if subscriber.cursor != before:
                    self._catch_up(symbol, subscriber)
                elif packed is not None:
                    self._send(subscriber, packed, after)
        full = fresh is not None and len(fresh) >= _MANY
        if full and feed.last is not None:
            feed.last = None  # there may be more behind the newest tick that was read
        return full

    def _catch_up(self, symbol: str, subscriber: Subscriber) -> None:
        missed, after = self._read(symbol, subscriber.cursor)
        if len(missed):
            self._send(subscriber, pack_ticks(symbol, after, missed), after)

    @staticmethod
    def _send(subscriber: Subscriber, packed: bytes, cursor: Cursor) -> None:
        try:
            subscriber.session.send([packed])
        except OSError:
            return  # its session ends as soon as it is looked at
        subscriber.cursor = cursor

    def _newest(self, symbol: str) -> Cursor | None:
        """Behind the newest tick there is."""
        tick = self._ask("symbol_info_tick", (symbol,))
        if tick is None:
            return None
        _, cursor = self._read(symbol, (tick.time_msc, 0))
        return cursor

    def _read(self, symbol: str, cursor: Cursor) -> tuple[Ticks, Cursor]:
        """The ticks after a cursor, and the cursor behind them."""
        msc, count = cursor
        limit = READ_LIMIT
        while True:
            ticks = self._ask("copy_ticks_from", (symbol, msc // 1000, limit, _ALL))
            if ticks is None or not len(ticks):
                return np.empty(0, TICKS_DTYPE), cursor
            times = ticks["time_msc"]
            first, behind = (int(np.searchsorted(times, msc, side)) for side in ("left", "right"))
            start = min(first + count, behind)
            if start < len(ticks):
                last = int(times[-1])
                return ticks[start:], (last, len(ticks) - int(np.searchsorted(times, last)))
            if len(ticks) < limit or limit >= _MOST:
                return np.empty(0, TICKS_DTYPE), cursor
            limit *= 2
