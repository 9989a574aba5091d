"""Both buses keep one contract: what is published reaches who listens, from any thread, and closing ends it all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from control_plane.bus.memory import MemoryBus
from control_plane.bus.port import Bus, Change, Subscription, Topic
from control_plane.bus.redis import RedisBus
from tests.deployments import EMBEDDED
from tests.redis_server import RedisServer, wait_until

pytestmark = pytest.mark.both_databases
PATIENCE = 10.0


def change(subject: str, user: str = "u1") -> Change:
    return Change(Topic.ACCOUNT, subject, user, "acc")


@pytest.fixture
def buses(deployment_kind: str, request: pytest.FixtureRequest) -> Iterator[tuple[Bus, Bus]]:
    """What one process publishes on, and what another one listens to; in memory they are the same."""
    if deployment_kind == EMBEDDED:
        bus = MemoryBus()
        yield bus, bus
        bus.close()
        return
    url = request.getfixturevalue("redis_server").url
    one, other = RedisBus(url), RedisBus(url)
    asyncio.run(until_heard(one, other))
    yield one, other
    one.close()
    other.close()


async def until_heard(speaker: Bus, listener: Bus) -> None:
    """The links are up once a first change has come through both ways."""
    for here, there in ((speaker, listener), (listener, speaker)):
        async with asyncio.timeout(PATIENCE):
            heard = False
            while not heard:
                subscription = there.subscribe(lambda each: each.subject_id == "first")
                here.publish(change("first"))
                heard = bool(await subscription.next(0.2))
                subscription.close()


async def collect(subscription: Subscription, wanted: int) -> set[Change]:
    found: set[Change] = set()
    async with asyncio.timeout(PATIENCE):
        while len(found) < wanted:
            changes = await subscription.next(PATIENCE)
            assert changes is not None
            found |= set(changes)
    return found


def news(each: Change) -> bool:
    """Not what was said to find out whether the links are up."""
    return each.subject_id != "first"


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_every_change_reaches_everybody_who_accepts_it(buses: tuple[Bus, Bus]) -> None:
    speaker, listener = buses
    sent = {change(f"a{number}") for number in range(100)}

    async def listen() -> tuple[set[Change], set[Change]]:
        mine, also_mine = (listener.subscribe(lambda each: news(each) and each.user_id == "u1") for _ in range(2))

        def publish() -> None:
            for each in [change("foreign", "u2"), *sent]:
                speaker.publish(each)

        thread = in_thread(publish)
        found = await collect(mine, 100), await collect(also_mine, 100)
        await asyncio.to_thread(thread.join)
        return found

    assert asyncio.run(listen()) == (sent, sent)


def test_a_listener_that_has_closed_hears_nothing_and_disturbs_nobody(buses: tuple[Bus, Bus]) -> None:
    speaker, listener = buses

    async def listen() -> set[Change]:
        listener.subscribe(lambda _: True).close()
        other = listener.subscribe(news)
        speaker.publish(change("a"))
        return await collect(other, 1)

    assert asyncio.run(listen()) == {change("a")}


def test_closing_ends_all_waiting_also_of_late_comers(buses: tuple[Bus, Bus]) -> None:
    _, listener = buses

    async def listen() -> list[list[Change] | None]:
        early = listener.subscribe(lambda _: True)
        waiting = asyncio.create_task(early.next(PATIENCE))
        await asyncio.to_thread(listener.close)
        late = listener.subscribe(lambda _: True)
        return [await waiting, await late.next(PATIENCE)]

    assert asyncio.run(listen()) == [None, None]


class TestRedis:
    def test_a_wiped_redis_changes_nothing(self, redis_server: RedisServer) -> None:
        bus = RedisBus(redis_server.url)

        async def listen() -> set[Change]:
            await until_heard(bus, bus)
            subscription = bus.subscribe(news)
            redis_server.flush()
            bus.publish(change("a"))
            return await collect(subscription, 1)

        assert asyncio.run(listen()) == {change("a")}
        bus.close()

    def test_who_listened_while_redis_was_away_is_told_to_read_anew(self, redis_server: RedisServer) -> None:
        bus = RedisBus(redis_server.url)

        async def listen() -> tuple[list[Change] | None, set[Change]]:
            await until_heard(bus, bus)
            before = bus.subscribe(lambda each: each.subject_id == "after")
            await asyncio.to_thread(redis_server.stop)
            for number in range(50):
                bus.publish(change(f"lost{number}"))
            await asyncio.to_thread(redis_server.start)
            async with asyncio.timeout(PATIENCE):
                ended = await before.next(PATIENCE)
            after = bus.subscribe(lambda each: each.subject_id == "after")
            bus.publish(change("after"))
            return ended, await collect(after, 1)

        assert asyncio.run(listen()) == (None, {change("after")})
        bus.close()

    def test_publishing_never_waits_for_a_redis_that_is_away(self, redis_server: RedisServer) -> None:
        redis_server.stop()
        bus = RedisBus(redis_server.url)

        def publish() -> None:
            for number in range(20_000):
                bus.publish(change(str(number)))

        publisher = in_thread(publish)
        wait_until(lambda: not publisher.is_alive())
        bus.close()

    def test_what_is_not_understood_is_passed_over(self, redis_server: RedisServer) -> None:
        bus = RedisBus(redis_server.url)

        async def listen() -> set[Change]:
            await until_heard(bus, bus)
            subscription = bus.subscribe(news)
            for junk in (b"", b"\xff", b"[]", b'{"topic": "unheard_of"}', b'"text"'):
                redis_server.publish("mt5farm.changes", junk)
            bus.publish(change("a"))
            return await collect(subscription, 1)

        assert asyncio.run(listen()) == {change("a")}
        bus.close()
