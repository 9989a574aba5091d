"""Both stores of budgets keep one contract and count alike; without Redis every process counts by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from control_plane.limits.fallback import FallbackBudgets
from control_plane.limits.memory import MemoryBudgets
from control_plane.limits.port import Budgets, BudgetsUnreachableError
from control_plane.limits.rate import Bucket, Rate
from control_plane.limits.redis import RedisBudgets
from tests.redis_server import RedisServer

NOW = 1_772_442_000_123_456
"""Microseconds in 2026: large enough for a careless store to round them."""
SECOND = 1_000_000
Store = Callable[[], Budgets]


@pytest.fixture(params=["memory", "redis"])
def open_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Opens what a process counts with; in memory all have the same."""
    if request.param == "memory":
        budgets = MemoryBudgets()
        yield lambda: budgets
        return
    url = request.getfixturevalue("redis_server").url
    opened: list[RedisBudgets] = []

    def another() -> RedisBudgets:
        opened.append(RedisBudgets(url))
        return opened[-1]

    yield another
    for each in opened:
        each.close()


def bucket(count: int, seconds: int = 60, key: str = "u1") -> Bucket:
    return Bucket("user", key, Rate(count, seconds))


def test_all_processes_count_together(open_store: Store) -> None:
    one, other = open_store(), open_store()
    found = [store.take([bucket(4)], NOW).allowed for store in (one, other, one, other, one, other)]
    assert found == [True] * 4 + [False] * 2


def test_many_at_the_same_time_get_no_more_than_there_is(open_store: Store) -> None:
    stores = [open_store() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: stores[number % 4].take([bucket(50)], NOW).allowed, range(200)))
    assert sum(answers) == 50


def test_of_several_budgets_all_pay_or_none(open_store: Store) -> None:
    store, small, big = open_store(), bucket(1, key="small"), bucket(10, key="big")
    assert [store.take([big, small], NOW).allowed for _ in range(5)] == [True, *[False] * 4]
    assert store.take([big], NOW).remaining == 8


def test_time_gives_back_one_by_one(open_store: Store) -> None:
    store = open_store()
    for _ in range(3):
        store.take([bucket(3, 30)], NOW)
    refused = store.take([bucket(3, 30)], NOW)
    assert (refused.allowed, refused.retry_after, refused.reset_after) == (False, 10, 30)
    assert store.take([bucket(3, 30)], NOW + 10 * SECOND - 1).allowed is False
    assert store.take([bucket(3, 30)], NOW + 10 * SECOND).allowed is True
    assert store.take([bucket(3, 30)], NOW + 10 * SECOND).allowed is False


def test_both_stores_answer_the_same_to_everything(redis_server: RedisServer) -> None:
    memory, redis = MemoryBudgets(), RedisBudgets(redis_server.url)
    buckets = [bucket(7, 3, "a"), bucket(5, 2, "b"), bucket(1000, 7, "c")]
    for step in range(300):
        now, chosen = NOW + step * 123_457 - (step % 7) * 200_003, buckets[step % 3 :]
        assert redis.take(chosen, now) == memory.take(chosen, now), step
    redis.close()


class TestWithoutRedis:
    def test_nobody_is_refused_for_it_and_those_who_run_the_farm_are_told(self, redis_server: RedisServer) -> None:
        seconds = [0.0]
        redis = RedisBudgets(redis_server.url)
        budgets = FallbackBudgets(redis, lambda: seconds[0])
        assert budgets.take([bucket(2)], NOW).allowed
        redis_server.stop()
        assert [budgets.take([bucket(2)], NOW).allowed for _ in range(3)] == [True, True, False]
        assert "by itself" in budgets.problem
        redis_server.start()
        seconds[0] = 60.0
        assert budgets.take([bucket(2)], NOW).allowed
        assert budgets.problem == ""
        redis.close()

    def test_a_wiped_redis_gives_everybody_a_whole_budget(self, redis_server: RedisServer) -> None:
        redis = RedisBudgets(redis_server.url)
        assert [redis.take([bucket(1)], NOW).allowed for _ in range(2)] == [True, False]
        redis_server.flush()
        assert redis.take([bucket(1)], NOW).allowed
        redis.close()

    def test_it_is_not_asked_by_every_request(self) -> None:
        asked: list[object] = []

        class Away:
            problem = ""

            def take(self, *_: object) -> None:
                asked.append(_)
                raise BudgetsUnreachableError("TimeoutError")

        budgets = FallbackBudgets(Away(), lambda: 100.0)  # type: ignore[arg-type]  # it answers nobody
        for _ in range(50):
            assert budgets.take([bucket(1000)], NOW).allowed
        assert len(asked) == 1
