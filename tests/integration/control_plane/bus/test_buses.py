"""Both buses keep one contract: what is published reaches who listens, also who comes back, and closing ends it all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.bus.memory import MemoryBus
from control_plane.bus.port import Batch, Bus, Change, Subscription, Topic
from control_plane.bus.redis import STREAM, RedisBus
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
    one, other = opened(url), opened(url)
    yield one, other
    one.close()
    other.close()


def opened(url: str) -> RedisBus:
    """One that hears the others."""
    bus = RedisBus(url)
    wait_until(lambda: not bus.problem)
    return bus


async def heard(subscription: Subscription, wanted: int) -> list[Batch]:
    """Batches until so many changes have come."""
    found: list[Batch] = []
    async with asyncio.timeout(PATIENCE):
        while sum(len(each.changes) for each in found) < wanted:
            batch = await subscription.next(PATIENCE)
            assert batch is not None
            found.append(batch)
    return found


async def collect(subscription: Subscription, wanted: int) -> set[Change]:
    return {each for batch in await heard(subscription, wanted) for _, each in batch.changes}


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_every_change_reaches_everybody_whom_it_concerns(buses: tuple[Bus, Bus]) -> None:
    speaker, listener = buses
    sent = {change(f"a{number}") for number in range(100)}

    async def listen() -> tuple[set[Change], set[Change]]:
        mine, also_mine = (listener.subscribe("u1") for _ in range(2))

        def publish() -> None:
            for each in [change("foreign", "u2"), *sent]:
                speaker.publish(each)

        thread = in_thread(publish)
        found = await collect(mine, 100), await collect(also_mine, 100)
        await asyncio.to_thread(thread.join)
        return found

    assert asyncio.run(listen()) == (sent, sent)


def test_a_node_is_told_of_its_generation(buses: tuple[Bus, Bus]) -> None:
    speaker, listener = buses
    raised = Change(Topic.GENERATION, "nod_1")

    async def listen() -> set[Change]:
        subscription = listener.subscribe("nod_1")
        speaker.publish(Change(Topic.GENERATION, "nod_2"))
        speaker.publish(raised)
        return await collect(subscription, 1)

    assert asyncio.run(listen()) == {raised}


def test_who_comes_back_is_told_what_was_missed_and_nothing_twice(buses: tuple[Bus, Bus]) -> None:
    speaker, listener = buses

    async def listen() -> list[str]:
        first = listener.subscribe("u1")
        for number in range(3):
            speaker.publish(change(f"before{number}"))
        batches = await heard(first, 3)
        seen = batches[-1].changes[-1][0]
        first.close()
        watcher = listener.subscribe("u2")
        for number in range(5):
            speaker.publish(change(f"meanwhile{number}"))
        speaker.publish(change("other", "u2"))
        position = (await heard(watcher, 1))[-1].position
        again = listener.subscribe("u1", seen)
        (missed,) = await heard(again, 5)
        assert (missed.gap, missed.position) == (False, position)
        assert [each for each, _ in missed.changes] == sorted({each for each, _ in missed.changes}, key=len_then_text)
        return [each.subject_id for _, each in missed.changes]

    assert asyncio.run(listen()) == [f"meanwhile{number}" for number in range(5)]


def len_then_text(position: str) -> tuple[int, str]:
    return len(position), position


def test_a_quiet_listener_comes_back_from_where_all_have_come_to(buses: tuple[Bus, Bus]) -> None:
    """What others did meanwhile does not make its place too old."""
    speaker, listener = buses

    async def listen() -> tuple[int, bool]:
        quiet, busy = listener.subscribe("quiet"), listener.subscribe("u1")
        speaker.publish(change("a"))
        await collect(busy, 1)
        batch = await quiet.next(0)
        assert batch is not None
        again = await listener.subscribe("quiet", batch.position).next(0)
        assert again is not None
        return len(again.changes), again.gap

    assert asyncio.run(listen()) == (0, False)


@pytest.mark.parametrize("position", ["", "0-0", "1-1", "nonsense", "99999999999999-0", "abcd.7"])
def test_a_place_that_is_not_known_is_told_as_a_gap(buses: tuple[Bus, Bus], position: str) -> None:
    _, listener = buses

    async def listen() -> tuple[bool, bool]:
        subscription = listener.subscribe("u1", position)
        first, second = await subscription.next(PATIENCE), await subscription.next(0)
        assert first is not None
        assert second is not None
        return first.gap, second.gap

    assert asyncio.run(listen()) == (True, False)


def test_a_listener_that_has_closed_hears_nothing_and_disturbs_nobody(buses: tuple[Bus, Bus]) -> None:
    speaker, listener = buses

    async def listen() -> set[Change]:
        listener.subscribe("u1").close()
        other = listener.subscribe("u1")
        speaker.publish(change("a"))
        return await collect(other, 1)

    assert asyncio.run(listen()) == {change("a")}


def test_closing_ends_all_waiting_also_of_late_comers(buses: tuple[Bus, Bus]) -> None:
    _, listener = buses

    async def listen() -> list[Batch | None]:
        early = listener.subscribe("u1")
        waiting = asyncio.create_task(early.next(PATIENCE))
        await asyncio.to_thread(listener.close)
        late = listener.subscribe("u1")
        return [await waiting, await late.next(PATIENCE)]

    assert asyncio.run(listen()) == [None, None]


class TestMemory:
    def test_equal_changes_are_told_once_at_the_place_of_the_last(self) -> None:
        async def listen() -> list[str]:
            bus = MemoryBus()
            subscription = bus.subscribe("u1")
            for subject in ("a", "b", "a"):
                bus.publish(change(subject))
            (batch,) = await heard(subscription, 2)
            return [each.subject_id for _, each in batch.changes]

        assert asyncio.run(listen()) == ["b", "a"]

    def test_a_listener_that_sleeps_too_long_is_told_of_its_gap(self) -> None:
        async def listen() -> Batch | None:
            bus = MemoryBus()
            subscription = bus.subscribe("u1")
            for number in range(2001):
                bus.publish(change(str(number)))
            return await subscription.next(PATIENCE)

        batch = asyncio.run(listen())
        assert batch is not None
        assert batch.gap

    @given(
        st.lists(st.sampled_from(["u1", "u2", "leave", "return"]), max_size=60),
        st.integers(1, 20),
    )
    def test_coming_back_loses_nothing_that_is_not_told_as_a_gap(self, steps: list[str], most_kept: int) -> None:
        async def live() -> None:
            bus, told, owed, seen = MemoryBus(most_kept), 0, 0, ""
            subscription: Subscription | None = bus.subscribe("u1")
            for step in [*steps, "return", "leave"]:
                match step:
                    case "leave" if subscription is not None:
                        batch = await subscription.next(0)
                        assert batch is not None
                        told = owed if batch.gap else told + len(batch.changes)
                        assert told == owed
                        seen = batch.position
                        subscription.close()
                        subscription = None
                    case "return" if subscription is None:
                        subscription = bus.subscribe("u1", seen)
                    case "u1" | "u2":
                        owed += step == "u1"
                        bus.publish(change(f"{len(steps)}.{owed}.{step}", step))

        asyncio.run(live())


class TestRedis:
    def test_a_wiped_redis_loses_nothing_that_listeners_do_not_read_anew(self, redis_server: RedisServer) -> None:
        bus = opened(redis_server.url)

        async def listen() -> tuple[bool, bool]:
            subscription = bus.subscribe("u1")
            bus.publish(change("before"))
            await heard(subscription, 1)
            redis_server.flush()
            bus.publish(change("after"))
            async with asyncio.timeout(PATIENCE):
                while (batch := await subscription.next(PATIENCE)) is not None and not batch.gap:
                    assert not batch.changes, "told as if nothing had happened"
            bus.publish(change("later"))
            batches = await heard(subscription, 1)
            return batch is not None and batch.gap, batches[-1].gap

        assert asyncio.run(listen()) == (True, False)
        bus.close()

    def test_a_short_absence_of_a_redis_that_keeps_its_memory_is_no_gap(self, redis_server: RedisServer) -> None:
        """As when the network between them fails."""
        bus, other = opened(redis_server.url), opened(redis_server.url)

        async def listen() -> list[Batch]:
            subscription = bus.subscribe("u1")
            other.publish(change("before"))
            await heard(subscription, 1)
            redis_server.drop_connections()
            for number in range(5):
                other.publish(change(f"meanwhile{number}"))
            return await heard(subscription, 5)

        batches = asyncio.run(listen())
        assert not any(each.gap for each in batches)
        told = [each.subject_id for batch in batches for _, each in batch.changes]
        assert told == [f"meanwhile{number}" for number in range(5)]
        bus.close()
        other.close()

    def test_while_redis_is_away_this_is_told_and_afterwards_all_read_anew(self, redis_server: RedisServer) -> None:
        bus = opened(redis_server.url)

        async def listen() -> tuple[bool, set[Change]]:
            subscription = bus.subscribe("u1")
            await asyncio.to_thread(redis_server.stop)
            await asyncio.to_thread(wait_until, lambda: "not heard" in bus.problem)
            await asyncio.to_thread(redis_server.start)
            async with asyncio.timeout(PATIENCE):
                batch = await subscription.next(PATIENCE)
            assert batch is not None
            await asyncio.to_thread(wait_until, lambda: not bus.problem)
            bus.publish(change("after"))
            return batch.gap, await collect(subscription, 1)

        assert asyncio.run(listen()) == (True, {change("after")})
        bus.close()

    def test_a_place_holds_in_another_process_also_in_one_that_started_later(self, redis_server: RedisServer) -> None:
        one = opened(redis_server.url)

        async def listen() -> set[Change]:
            first = one.subscribe("u1")
            one.publish(change("seen"))
            position = (await heard(first, 1))[-1].position
            one.publish(change("missed"))
            await heard(first, 1)
            other = await asyncio.to_thread(opened, redis_server.url)
            again = other.subscribe("u1", position)
            batches = await heard(again, 1)
            other.close()
            assert not any(each.gap for each in batches)
            return {each for batch in batches for _, each in batch.changes}

        assert asyncio.run(listen()) == {change("missed")}
        one.close()

    def test_what_was_dropped_while_redis_was_away_is_told_as_a_gap(self, redis_server: RedisServer) -> None:
        speaker, listener = opened(redis_server.url), opened(redis_server.url)

        async def listen() -> bool:
            subscription = listener.subscribe("u1")
            redis_server.refuse_writes()
            for number in range(11_000):
                speaker.publish(change(str(number)))
            redis_server.take_writes()
            async with asyncio.timeout(PATIENCE):
                while (batch := await subscription.next(PATIENCE)) is not None and not batch.gap:
                    pass
            return batch is not None

        assert asyncio.run(listen())
        speaker.close()
        listener.close()

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
        bus = opened(redis_server.url)

        async def listen() -> set[Change]:
            subscription = bus.subscribe("u1")
            for junk in (b"", b"\xff", b"[]", b'{"topic": "unheard_of"}', b'"text"'):
                redis_server.add_to_stream(STREAM, {"change": junk})
            redis_server.add_to_stream(STREAM, {"unheard_of": b"1"})
            bus.publish(change("a"))
            return await collect(subscription, 1)

        assert asyncio.run(listen()) == {change("a")}
        bus.close()
