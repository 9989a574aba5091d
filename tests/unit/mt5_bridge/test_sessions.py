"""Of the terminal's thread and the one that stands in for it, never do both serve."""

from __future__ import annotations

import threading

from mt5_bridge.sessions import Session, SessionLoop
from tests.bridge_doubles import eventually


class HeldLoop(SessionLoop):
    """Stays in its wait until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Event()
        self.let_go = threading.Event()
        self.woken = threading.Event()

    def _wait(self, _: float | None) -> list[Session]:
        self.waits.set()
        assert self.let_go.wait(15)
        return []

    def wake(self) -> None:
        self.woken.set()
        super().wake()


def test_the_terminals_thread_waits_for_the_end_of_the_one_that_stands_in() -> None:
    loop, entered, over = HeldLoop(), threading.Event(), threading.Event()

    def come_back() -> None:
        loop.enter()
        entered.set()

    standing_in = threading.Thread(target=loop.stand_in, args=(over.is_set,), daemon=True)
    standing_in.start()
    assert loop.waits.wait(15)
    threading.Thread(target=come_back, daemon=True).start()
    try:
        eventually(lambda: loop.woken.is_set() or entered.is_set())
        assert not entered.is_set()
        loop.let_go.set()
        assert entered.wait(15)
        standing_in.join(15)
        assert not standing_in.is_alive()
    finally:
        over.set()
        loop.let_go.set()
    loop.close()


def test_nobody_stands_in_while_the_terminals_thread_serves() -> None:
    loop, over = HeldLoop(), threading.Event()
    loop.enter()
    loop.let_go.set()
    standing_in = threading.Thread(target=loop.stand_in, args=(over.is_set,), daemon=True)
    standing_in.start()
    standing_in.join(15)
    over.set()
    assert not loop.waits.is_set()
    loop.close()
