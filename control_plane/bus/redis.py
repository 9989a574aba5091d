"""The bus of a farm that runs in several processes, over Redis' publish and subscribe.

Redis keeps nothing of it. Who listened while the link was down has missed something and cannot know what, so that all
listening of this process ends then: a stream is opened anew by its browser, which reads everything again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from queue import Empty, Full, Queue
from typing import Any

import structlog
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from control_plane.bus.memory import MemoryBus, MemorySubscription
from control_plane.bus.port import Change, Topic

_CHANNEL = "mt5farm.changes"
_MOST_WAITING = 10_000
_POLL_SECONDS = 0.1
"""How long closing may have to wait."""
_PAUSE_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
_log = structlog.get_logger(__name__)


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
        self._open_channel: Callable[[], Any] = self._redis.pubsub
        self._outgoing: Queue[Change] = Queue(_MOST_WAITING)
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._speak, name="bus-speaker", daemon=True),
            threading.Thread(target=self._listen, name="bus-listener", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def publish(self, change: Change) -> None:
        while not self._closing.is_set():
            try:
                self._outgoing.put_nowait(change)
            except Full:
                self._drop_oldest()
            else:
                return

    def subscribe(self, accepts: Callable[[Change], bool]) -> MemorySubscription:
        return self._local.subscribe(accepts)

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

    def _speak(self) -> None:
        while not self._closing.is_set():
            try:
                change = self._outgoing.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            while not self._closing.is_set() and not self._sent(change):
                self._closing.wait(_PAUSE_SECONDS)

    def _sent(self, change: Change) -> bool:
        try:
            self._redis.publish(_CHANNEL, json.dumps(vars(change)))
        except RedisError as error:
            _log.warning("bus_cannot_speak", error=type(error).__name__)
            return False
        return True

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                with self._open_channel() as channel:
                    channel.subscribe(_CHANNEL)
                    while not self._closing.is_set():
                        self._take(channel.get_message(timeout=_POLL_SECONDS))
            except RedisError as error:
                _log.warning("bus_cannot_listen", error=type(error).__name__)
                self._closing.wait(_PAUSE_SECONDS)

    def _take(self, message: dict[str, object] | None) -> None:
        if message is None:
            return
        if message["type"] == "subscribe":
            self._local.end_present()  # what was said before this moment has passed them by
        elif message["type"] == "message":
            change = _change(message["data"])
            if change is not None:
                self._local.publish(change)


def _change(data: object) -> Change | None:
    """None for what no version of the farm has sent that this one understands."""
    try:
        assert isinstance(data, bytes)
        fields = json.loads(data)
        texts = {name: str(fields[name]) for name in ("subject_id", "user_id", "account_id")}
        return Change(Topic(fields["topic"]), **texts)
    except (AssertionError, ValueError, KeyError, TypeError):
        _log.warning("bus_message_not_understood")
        return None
