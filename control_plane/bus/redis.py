"""The bus of a farm that runs in several processes, over a stream in Redis.

Every process reads the whole stream once and tells its own listeners, so that a position means the same in all of them
and a browser may come back to another one. Redis keeps nothing that matters: where the entry that was read last is no
longer there, because Redis was wiped or somebody was away for too long, all listeners are told to read everything anew.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from queue import Empty, Full, Queue
from typing import Any

import structlog
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from control_plane.bus.memory import MOST_KEPT, MemoryBus, MemorySubscription
from control_plane.bus.port import Change, Topic

STREAM = "mt5farm.changes"
_CHANGE, _LOST = "change", "lost"
_MOST_WAITING = 10_000
_AT_ONCE = 500
_POLL_SECONDS = 0.1
"""How long closing may have to wait."""
_PAUSE_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
_log = structlog.get_logger(__name__)
_Entry = tuple[bytes, dict[bytes, bytes]]


class RedisBus:
    def __init__(self, url: str) -> None:
        self._local = MemoryBus()
        self._redis = Redis.from_url(
            url,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            health_check_interval=10,
            retry=Retry(NoBackoff(), 0),
        )
        self._outgoing: Queue[Change] = Queue(_MOST_WAITING)
        self._dropped = threading.Event()
        self._closing = threading.Event()
        self._problem = "live updates of other processes are not read yet"
        self._threads = [
            threading.Thread(target=self._speak, name="bus-speaker", daemon=True),
            threading.Thread(target=self._listen, name="bus-listener", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def problem(self) -> str:
        return self._problem

    def publish(self, change: Change) -> None:
        while not self._closing.is_set():
            try:
                self._outgoing.put_nowait(change)
            except Full:
                self._drop_oldest()
            else:
                return

    def subscribe(self, audience: str, after: str | None = None) -> MemorySubscription:
        return self._local.subscribe(audience, after)

    def close(self) -> None:
        self._closing.set()
        self._local.close()
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS)
        self._redis.close()

    def _drop_oldest(self) -> None:
        try:
            self._outgoing.get_nowait()
        except Empty:
            return
        self._dropped.set()

    def _speak(self) -> None:
        while not self._closing.is_set():
            changes = self._next_ones()
            while changes and not self._closing.is_set() and not self._sent(changes):
                self._closing.wait(_PAUSE_SECONDS)

    def _next_ones(self) -> list[Change]:
        """Those that wait, in their order; none after a while."""
        found: list[Change] = []
        try:
            found.append(self._outgoing.get(timeout=_POLL_SECONDS))
            while len(found) < _AT_ONCE:
                found.append(self._outgoing.get_nowait())
        except Empty:
            pass
        return found

    def _sent(self, changes: Sequence[Change]) -> bool:
        """In one exchange with Redis. What is sent once more after a failure may be told twice, which does no harm."""
        lost = self._dropped.is_set()
        self._dropped.clear()
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                if lost:
                    pipeline.xadd(STREAM, {_LOST: "1"}, maxlen=MOST_KEPT)
                for change in changes:
                    pipeline.xadd(STREAM, {_CHANGE: json.dumps(vars(change))}, maxlen=MOST_KEPT)
                pipeline.execute()
        except RedisError as error:
            if lost:
                self._dropped.set()
            _log.warning("bus_cannot_speak", error=type(error).__name__)
            return False
        return True

    def _all(self) -> list[_Entry]:
        found: Any = self._redis.xrange(STREAM)
        return list(found)

    def _listen(self) -> None:
        last = b""
        while not self._closing.is_set():
            try:
                last = self._continue(last)
                self._problem = ""
                while not self._closing.is_set():
                    last = self._read_on(last)
            except RedisError as error:
                _log.warning("bus_cannot_listen", error=type(error).__name__)
                self._problem = f"live updates of other processes are not heard: {type(error).__name__}"
                self._closing.wait(_PAUSE_SECONDS)

    def _continue(self, last: bytes) -> bytes:
        """From where to read. What is there from before this process can be told to those who come back."""
        if last and self._is_there(last):
            return last
        entries = self._all()
        if not entries:
            self._redis.xadd(STREAM, {_LOST: "1"}, maxlen=MOST_KEPT)  # there must be one that positions can begin at
            entries = self._all()
        first, *others = entries
        self._local.restart(first[0].decode(), [(entry.decode(), _change(fields)) for entry, fields in others])
        return entries[-1][0]

    def _read_on(self, last: bytes) -> bytes:
        answer: Any = self._redis.xread({STREAM: last}, count=_AT_ONCE, block=round(_POLL_SECONDS * 1000))
        if not answer:
            return last
        entries: list[_Entry] = answer[0][1]
        if not self._is_there(last):
            return self._continue(b"")  # a wiped Redis goes on with later entries as if nothing had been
        for entry, fields in entries:
            if _LOST.encode() in fields:
                self._local.restart(entry.decode())
            else:
                self._local.tell(entry.decode(), _change(fields))
        return entries[-1][0]

    def _is_there(self, entry: bytes) -> bool:
        return bool(self._redis.xrange(STREAM, entry, entry))


def _change(fields: dict[bytes, bytes]) -> Change | None:
    """None for what no version of the farm has sent that this one understands."""
    if _LOST.encode() in fields:
        return None
    try:
        told = json.loads(fields[_CHANGE.encode()])
        texts = {name: str(told[name]) for name in ("subject_id", "user_id", "account_id")}
        return Change(Topic(told["topic"]), **texts)
    except (ValueError, KeyError, TypeError):
        _log.warning("bus_message_not_understood")
        return None
