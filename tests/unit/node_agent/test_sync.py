"""Snapshots and events over a control plane that fails in every way it can."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mt5_bridge.lease import Moment
from node_agent.config import Timing
from node_agent.control_link import (
    ControlLink,
    NodeUnknownError,
    RejectedError,
    UnreachableError,
)
from node_agent.database import Database
from node_agent.identity import make_keys
from node_agent.protocol.encoding import to_text
from node_agent.protocol.identity import IdentityError, verify_request
from node_agent.protocol.messages import (
    EVENTS_PATH,
    SYNC_PATH,
    BotLogBody,
    DesiredSnapshot,
    Event,
    EventAck,
    EventBatch,
    NodeReport,
    SyncRequest,
    SyncResponse,
    WatchResponse,
)
from node_agent.spool import Spool
from node_agent.sync import Description, SyncLoop, deliver_events

AT = Moment("boot", 1000.0, 1000.0)
NOW = datetime(2026, 1, 5, tzinfo=UTC)
REPORT = NodeReport(
    agent_version="1",
    clock=NOW,
    cpu_count=1,
    load_1m=0.0,
    memory_total=1,
    memory_available=1,
    disk_free=1,
    gateway_address="h:1",
    gateway_up=True,
    spooled_events=0,
)


class FakePlane:
    """Answers like a control plane, after `failures` answers that fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.requests: list[httpx.Request] = []
        self.syncs: list[SyncRequest] = []
        self.batches: list[EventBatch] = []
        self.status, self.body = 503, b"not even JSON"
        self.generation = 5
        self.expected_events = 0
        self.got_all = asyncio.Event()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.failures:
            self.failures -= 1
            return httpx.Response(self.status, content=self.body)
        if request.url.path.endswith("/sync"):
            return self._sync(SyncRequest.model_validate_json(request.content))
        batch = EventBatch.model_validate_json(request.content)
        self.batches.append(batch)
        if sum(len(each.events) for each in self.batches) >= self.expected_events:
            self.got_all.set()
        ack = EventAck(accepted=[event.event_id for event in batch.events])
        return httpx.Response(200, content=ack.model_dump_json())

    def _sync(self, request: SyncRequest) -> httpx.Response:
        self.syncs.append(request)
        known = request.known_generation == self.generation
        answer = SyncResponse(
            generation=self.generation,
            desired=None if known else DesiredSnapshot(generation=self.generation, terminals=[]),
            lease_seconds=45,
            identity_expires_at=NOW,
            ticket_keys=[],
            sync_seconds=0.01,
            server_time=NOW,
        )
        return httpx.Response(200, content=answer.model_dump_json())


KEYS = make_keys()


def link_to(plane: FakePlane) -> ControlLink:
    client = httpx.AsyncClient(base_url="https://plane", transport=httpx.MockTransport(plane))
    return ControlLink(client, "nod_0123456789abcdef", KEYS, time.time)


def describe() -> Description:
    return Description(REPORT, [])


def run_until(plane: FakePlane, syncs: int) -> list[SyncResponse]:
    applied: list[SyncResponse] = []

    async def go() -> None:
        timing = Timing(sync_floor=0.0, retry_unknown_node=0.01)
        loop = SyncLoop(link_to(plane), timing, lambda: AT, 0, describe, lambda answer, _: applied.append(answer))
        task = asyncio.create_task(loop.run(0.01))
        async with asyncio.timeout(20):
            while len(plane.syncs) < syncs:
                loop.nudge()
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(go())
    return applied


def test_a_snapshot_is_applied_once_and_then_known() -> None:
    plane = FakePlane()
    applied = run_until(plane, 3)
    assert [answer.desired is not None for answer in applied][:3] == [True, False, False]
    assert [sync.known_generation for sync in plane.syncs][:3] == [0, 5, 5]
    assert [sync.sequence for sync in plane.syncs][:3] == [1, 2, 3]
    assert len({sync.boot_id for sync in plane.syncs}) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b"not even JSON"),
        (200, b'{"generation": "what?"}'),
        (401, b'{"code": "node_unknown", "detail": "who?"}'),
        (409, b'{"code": "other"}'),
        (500, b"[1, 2]"),
    ],
)
def test_failures_are_outlived(status: int, body: bytes) -> None:
    plane = FakePlane(failures=2)
    plane.status, plane.body = status, body
    assert run_until(plane, 1)
    assert plane.syncs[0].sequence == 3


def test_every_request_is_signed_for_itself() -> None:
    plane = FakePlane()
    run_until(plane, 1)
    request = plane.requests[0]
    public = KEYS.identity.public_key()
    header = request.headers["Authorization"]
    assert to_text(public.public_bytes_raw()) == KEYS.identity_public
    assert verify_request(public, header, "POST", SYNC_PATH, request.content).node_id == "nod_0123456789abcdef"
    with pytest.raises(IdentityError, match="another request"):
        verify_request(public, header, "POST", EVENTS_PATH, request.content)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b'{"code": "node_unknown", "detail": "d"}', NodeUnknownError),
        (403, b'{"code": "identity_locked", "detail": "d"}', NodeUnknownError),
        (403, b'{"code": "no", "detail": "d"}', RejectedError),
        (502, b"<html>", UnreachableError),
        (200, b"{}", UnreachableError),
    ],
)
def test_problems_become_errors_by_what_can_be_done(status: int, body: bytes, error: type[Exception]) -> None:
    plane = FakePlane(failures=1)
    plane.status, plane.body = status, body
    with pytest.raises(error):
        asyncio.run(link_to(plane).events(EventBatch(events=[])))


def test_a_lease_counts_from_before_the_sending() -> None:
    plane = FakePlane()
    readings = iter(Moment("boot", float(each), float(each)) for each in range(1000))
    sent: list[Moment] = []
    answered = asyncio.Event()

    def apply(_: SyncResponse, sent_at: Moment) -> None:
        sent.append(sent_at)
        answered.set()

    async def go() -> None:
        loop = SyncLoop(link_to(plane), Timing(sync_floor=0.0), lambda: next(readings), 0, describe, apply)
        task = asyncio.create_task(loop.run(0.01))
        await asyncio.wait_for(answered.wait(), 20)
        task.cancel()

    asyncio.run(go())
    assert sent[0].elapsed == 0


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    database = Database(tmp_path / "agent.sqlite3")
    yield Spool(database)
    database.close()


def event(number: int) -> Event:
    return Event(
        event_id=f"e{number}",
        terminal_id="ter_0000000000000001",
        account_id="acc_0000000000000001",
        epoch=1,
        occurred_at=NOW,
        body=BotLogBody(bot_id="bot_0000000000000001", level="info", text=str(number)),
    )


def test_events_are_delivered_in_order_in_batches_after_an_outage(spool: Spool) -> None:
    spool.append(event(number) for number in range(1200))
    plane = FakePlane(failures=1)
    plane.expected_events = 1200

    async def go() -> None:
        task = asyncio.create_task(deliver_events(link_to(plane), spool, 0.01))
        await asyncio.wait_for(plane.got_all.wait(), 20)
        task.cancel()

    asyncio.run(go())
    assert [len(batch.events) for batch in plane.batches] == [500, 500, 200]
    delivered = [each.event_id for batch in plane.batches for each in batch.events]
    assert delivered == [f"e{number}" for number in range(1200)]


class SlowPlane:
    """A control plane that tells the news at once and takes its time for a report."""

    def __init__(self) -> None:
        self.watches = 0
        self.called, self.may_answer, self.asked_again = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def sync(self, request: SyncRequest) -> SyncResponse:
        self.called.set()
        await self.may_answer.wait()
        raise UnreachableError("too late")

    async def watch(self, _generation: int) -> WatchResponse:
        self.watches += 1
        if self.watches > 1:
            self.asked_again.set()
        return WatchResponse(generation=6)


def test_news_is_not_asked_for_again_while_a_report_is_on_its_way() -> None:
    async def go() -> None:
        plane: Any = SlowPlane()
        loop = SyncLoop(plane, Timing(sync_floor=0.0), lambda: AT, 5, describe, lambda *_: None)
        tasks = [asyncio.create_task(each) for each in (loop.run(60.0), loop.watch())]
        await asyncio.wait_for(plane.called.wait(), 20)
        for _ in range(100):
            await asyncio.sleep(0)
        assert plane.watches == 1
        plane.may_answer.set()
        await asyncio.wait_for(plane.asked_again.wait(), 20)
        for task in tasks:
            task.cancel()

    asyncio.run(go())
