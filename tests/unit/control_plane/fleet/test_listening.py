"""Silence proves something only while somebody listened."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from structlog.testing import capture_logs

from control_plane.fleet.listening import Listening
from tests.unit.control_plane.world import START, ManualClock

LONGEST = timedelta(seconds=15)


def test_short_rounds_keep_the_silence() -> None:
    clock = ManualClock()
    listening = Listening(clock, LONGEST)
    for _ in range(100):
        clock.advance(seconds=15)
        listening.tick()
    assert listening.since == START


def test_a_pause_starts_it_anew_and_is_told() -> None:
    clock = ManualClock()
    listening = Listening(clock, LONGEST)
    clock.advance(seconds=15.5)
    with capture_logs() as told:
        now = listening.tick()
    assert listening.since == now
    assert [(each["event"], each["seconds"]) for each in told] == [("nobody_listened", 15.5)]


class _HeldUp(ManualClock):
    """Whoever reads it first is held up with what it read."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.go_on = threading.Event(), threading.Event()
        self.holds = False

    def now(self) -> datetime:
        moment = super().now()
        if self.holds:
            self.holds = False
            self.read.set()
            assert self.go_on.wait(10)
        return moment


def test_a_loop_that_is_held_up_makes_no_pause_of_the_others_rounds() -> None:
    clock = _HeldUp()
    listening = Listening(clock, LONGEST)
    clock.holds = True
    slow = threading.Thread(target=listening.tick)
    slow.start()
    assert clock.read.wait(10)
    clock.advance(seconds=14)
    quick = threading.Thread(target=listening.tick)
    quick.start()
    # Where the rounds can overtake each other this one ends now; else it waits for the slow one.
    quick.join(0.2)
    clock.go_on.set()
    slow.join(10)
    quick.join(10)
    clock.advance(seconds=14)
    listening.tick()
    assert listening.since == START
