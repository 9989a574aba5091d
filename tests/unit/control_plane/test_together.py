from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from control_plane.together import Together
from tests.redis_server import wait_until


class Finder:
    """Answers with the question, once it may go on, and remembers what was asked together."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.goes_on = threading.Event()

    def __call__(self, group: str, questions: Sequence[str]) -> list[str | Exception]:
        self.asked.append((group, list(questions)))
        assert self.goes_on.wait(10)
        if "spoils all" in questions:
            raise ValueError("spoilt")
        return [KeyError(each) if each == "wrong" else each.upper() for each in questions]


async def until(true: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, true)


def test_those_who_come_while_others_are_answered_are_answered_together() -> None:
    find = Finder()

    async def ask() -> list[str | BaseException]:
        together = Together[str, str](find)
        first = asyncio.create_task(together.ask("one", "a"))
        await until(lambda: bool(find.asked))
        others = [asyncio.create_task(together.ask("one", each)) for each in ("b", "gone", "wrong", "c")]
        elsewhere = asyncio.create_task(together.ask("two", "d"))
        await until(lambda: len(find.asked) == 2)
        others[1].cancel()
        find.goes_on.set()
        found = await asyncio.gather(first, *others, elsewhere, return_exceptions=True)
        return [*found, await together.ask("one", "e")]

    a, b, gone, wrong, c, d, e = asyncio.run(ask())
    assert (a, b, c, d, e) == ("A", "B", "C", "D", "E")
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(wrong, KeyError)
    assert find.asked == [("one", ["a"]), ("two", ["d"]), ("one", ["b", "wrong", "c"]), ("one", ["e"])]


def test_what_goes_wrong_for_one_does_not_concern_the_others() -> None:
    find = Finder()

    async def ask() -> list[str | BaseException]:
        together = Together[str, str](find)
        first = asyncio.create_task(together.ask("one", "a"))
        await until(lambda: bool(find.asked))
        others = [asyncio.create_task(together.ask("one", each)) for each in ("b", "spoils all", "c")]
        await asyncio.sleep(0)
        find.goes_on.set()
        await first
        return await asyncio.gather(*others, return_exceptions=True)

    b, spoilt, c = asyncio.run(ask())
    assert (b, c) == ("B", "C")
    assert isinstance(spoilt, ValueError)


def test_a_mistake_reaches_the_only_one_who_asked_and_the_next_is_answered() -> None:
    find = Finder()
    find.goes_on.set()

    async def ask() -> str:
        together = Together[str, str](find)
        with pytest.raises(ValueError, match="spoilt"):
            await together.ask("one", "spoils all")
        return await together.ask("one", "b")

    assert asyncio.run(ask()) == "B"
