"""Jobs of a farm in one process: two threads, so that nothing waits for machines of users."""

from __future__ import annotations

import threading

from control_plane.jobs.runner import JobRunner
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.resources import open_executors
from tests.unit.control_plane.world import World


def test_a_job_that_waits_for_a_stranger_keeps_no_other_waiting(world: World) -> None:
    with world.farm.database.write_as_system() as session:
        outbox = Outbox(world.farm.audit, world.clock, lambda: None)
        outbox.put(session, JobKind.DELIVER_ALERT, "dlv_1")
        outbox.put(session, JobKind.PLACE_TERMINAL, "ter_1")
    asked, answers = threading.Event(), threading.Event()
    placed: list[str] = []

    def deliver(_: str) -> None:
        asked.set()
        assert answers.wait(10)

    handlers = {JobKind.DELIVER_ALERT: deliver, JobKind.PLACE_TERMINAL: placed.append}
    runner = JobRunner(world.farm.database, world.clock, handlers)
    others, to_strangers = open_executors(world.farm.settings, runner, world.farm.database, world.clock)
    assert to_strangers is not None
    slow = threading.Thread(target=to_strangers.work)
    slow.start()
    try:
        assert asked.wait(10)
        others.work()
        assert placed == ["ter_1"]
    finally:
        answers.set()
        slow.join(10)
    assert not slow.is_alive()


def test_deliveries_come_before_the_mails_that_they_put(world: World) -> None:
    names = [loop.name for loop in world.farm.loops]
    assert names[:2] == ["deliveries", "jobs"]
