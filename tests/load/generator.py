"""Plays nodes, users and browsers in a process of its own. Takes its plan as JSON and prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import ssl
import sys
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node_agent.protocol.identity import sign_request
from node_agent.protocol.messages import PROTOCOL_VERSION, SYNC_PATH, WATCH_PATH
from tests.load.figures import Times
from tests.load.http import Line, LineBrokenError

SERVER = "MT5Farm-Load"
_POLICIES = ("keep_running", "self_fence")
_PATIENCE_SECONDS = 60.0


@dataclass
class Plan:
    """Everything of this comes from `run`, as JSON on stdin."""

    host: str
    ports: list[tuple[int, int]]
    """Of portal and agent API of each process of the control plane."""
    ca_pem: str
    members: list[dict[str, Any]]
    visitors: list[dict[str, Any]]
    seconds: float
    sync_seconds: float
    intents_per_second: float
    seed: int
    reconnect_at: float | None


@dataclass
class Seen:
    syncs: Times = field(default_factory=Times)
    writes: Times = field(default_factory=Times)
    watches: Times = field(default_factory=Times)
    stream_events: int = 0
    streams_lost: int = 0
    settled_seconds: float | None = None
    processor_seconds: float = 0.0
    """Of this process, from when it began to play."""


class Reporter:
    """A node as far as it knows itself: what it says, and what it was answered."""

    def __init__(self, member: dict[str, Any], chance: random.Random) -> None:
        self.id = member["node_id"]
        self.key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(member["key"]))
        self.generation = 1
        self._terminals = member["terminals"]
        self._chance = chance
        self._boot = f"{chance.getrandbits(64):016x}"
        self._since = datetime.now(UTC).isoformat()
        self._sequence = 0
        self._continuity = ""

    def heard(self, continuity: str, generation: int) -> None:
        self._continuity, self.generation = continuity, generation

    def body(self) -> bytes:
        """The next report. Prices move, so it differs from the one before in all accounts."""
        self._sequence += 1
        now = datetime.now(UTC).isoformat()
        broker_time = int(time.time())
        return json.dumps(
            {
                "protocol": PROTOCOL_VERSION,
                "boot_id": self._boot,
                "sequence": self._sequence,
                "known_generation": self.generation,
                "continuity": self._continuity,
                "report": {
                    "agent_version": "0.1.0",
                    "clock": now,
                    "cpu_count": 4,
                    "load_1m": 0.3,
                    "memory_total": 8 << 30,
                    "memory_available": 4 << 30,
                    "disk_free": 64 << 30,
                    "gateway_address": "127.0.0.1:9",
                    "gateway_up": True,
                    "spooled_events": 0,
                    "watchdog_up": True,
                },
                "terminals": [self._terminal(each, now, broker_time) for each in self._terminals],
            }
        ).encode()

    def _terminal(self, hosted: dict[str, Any], now: str, broker_time: int) -> dict[str, Any]:
        profit = round(self._chance.gauss(0, 50), 2)
        return {
            "terminal_id": hosted["terminal_id"],
            "epoch": 1,
            "phase": "ready",
            "since": self._since,
            "last_answer_at": now,
            "terminal_pid": 100,
            "worker_pid": 101,
            "flat": False,
            "memory": 64 << 20,
            "build": 5260,
            "account": {
                "login": hosted["login"],
                "server": SERVER,
                "currency": "USD",
                "balance": 10_000.0,
                "credit": 0.0,
                "profit": profit,
                "equity": round(10_000.0 + profit, 2),
                "margin": 33.2,
                "margin_free": round(9_966.8 + profit, 2),
                "positions": 1,
                "broker_time": broker_time,
                "taken_at": now,
            },
        }


class Node:
    """Reports as an agent does: the whole view at each pace, and at once when the long poll says that there is news."""

    def __init__(
        self, plan: Plan, port: int, member: dict[str, Any], tls: ssl.SSLContext, seen: Seen, chance: random.Random
    ) -> None:
        self._plan = plan
        self._self = Reporter(member, chance)
        self._lines = [Line(plan.host, port, tls) for _ in range(2)]
        self._seen = seen
        self._chance = chance
        self._news = asyncio.Event()
        self._tried = asyncio.Event()
        self.synced_at = 0.0

    async def report(self) -> None:
        await asyncio.sleep(self._chance.random() * self._plan.sync_seconds)
        while True:
            started = time.monotonic()
            await self._sync()
            pause = max(0.0, self._plan.sync_seconds - (time.monotonic() - started))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):  # `wait_for` may swallow the end of the run
                    await self._news.wait()
            self._news.clear()

    async def watch(self) -> None:
        await asyncio.sleep(self._plan.sync_seconds)
        while True:
            target = f"{WATCH_PATH}?generation={self._self.generation}"
            answer = await self._call(self._lines[1], "GET", target, WATCH_PATH, b"", self._seen.watches)
            if answer is None:
                await asyncio.sleep(1 + self._chance.random())
            elif answer["generation"] > self._self.generation:
                self._tried.clear()
                self._news.set()
                await self._tried.wait()
                await asyncio.sleep(0.5)

    def cut(self) -> None:
        for line in self._lines:
            line.cut()

    async def _sync(self) -> None:
        answer = await self._call(self._lines[0], "POST", SYNC_PATH, SYNC_PATH, self._self.body(), self._seen.syncs)
        self._tried.set()
        if answer is not None:
            self.synced_at = time.monotonic()
            self._self.heard(answer["continuity"], answer["generation"])

    async def _call(
        self, line: Line, method: str, target: str, path: str, body: bytes, times: Times
    ) -> dict[str, Any] | None:
        started = time.monotonic()
        header = sign_request(self._self.key, self._self.id, method, path, body, time.time())
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await line.call(method, target, f"Authorization: {header}\r\n", body)
        except (LineBrokenError, OSError, TimeoutError) as error:
            times.failures[type(error).__name__] += 1
            return None
        times.seconds.append(time.monotonic() - started)
        if answer.status != 200:
            times.failures[str(answer.status)] += 1
            return None
        found: dict[str, Any] = json.loads(answer.body)
        return found


class Visitors:
    def __init__(self, plan: Plan, seen: Seen) -> None:
        self._plan = plan
        self._seen = seen
        self._chance = random.Random(plan.seed)
        self._line = asyncio.LifoQueue[Line]()
        for number in range(8):
            self._line.put_nowait(Line(plan.host, plan.ports[number % len(plan.ports)][0]))

    async def wish(self) -> None:
        """Users change what should be: the lease policy of an account, there and back."""
        pause = 1 / self._plan.intents_per_second
        running: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while True:
            due += pause
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self._wish_once())
            running.add(task)
            task.add_done_callback(running.discard)

    async def _wish_once(self) -> None:
        visitor = self._chance.choice(self._plan.visitors)
        target = f"/api/v1/accounts/{self._chance.choice(visitor['account_ids'])}/lease-policy"
        body = json.dumps({"policy": self._chance.choice(_POLICIES)}).encode()
        headers = f"Cookie: mt5farm_session={visitor['cookie']}\r\nSec-Fetch-Site: same-origin\r\n"
        started = time.monotonic()
        line = await self._line.get()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await line.call("PUT", target, headers, body)
        except (LineBrokenError, OSError, TimeoutError) as error:
            self._seen.writes.failures[type(error).__name__] += 1
            return
        finally:
            self._line.put_nowait(line)
        self._seen.writes.seconds.append(time.monotonic() - started)
        if answer.status != 200:
            self._seen.writes.failures[str(answer.status)] += 1

    async def browse(self, visitor: dict[str, Any], port: int) -> None:
        """An open portal: the stream of live updates, read as it comes and opened again when it ends."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(self._plan.host, port)
                head = f"GET /api/v1/stream HTTP/1.1\r\nHost: {self._plan.host}:{port}\r\n"
                writer.write(f"{head}Cookie: mt5farm_session={visitor['cookie']}\r\n\r\n".encode())
                while line := await reader.readline():
                    self._seen.stream_events += line.startswith(b"event:")
                writer.close()
            except (OSError, ValueError):
                pass
            self._seen.streams_lost += 1
            await asyncio.sleep(1 + self._chance.random())


async def play(plan: Plan) -> Seen:
    seen = Seen()
    used_before = time.process_time()
    tls = ssl.create_default_context(cadata=plan.ca_pem)
    tls.check_hostname = False
    chance = random.Random(plan.seed)
    portals, agent_apis = zip(*plan.ports, strict=True)
    nodes = [
        Node(plan, port, each, tls, seen, random.Random(chance.random()))
        for each, port in zip(plan.members, cycle(agent_apis), strict=False)
    ]
    visitors = Visitors(plan, seen)
    work: list[Awaitable[None]] = [step() for node in nodes for step in (node.report, node.watch)]
    work += [visitors.browse(each, port) for each, port in zip(plan.visitors, cycle(portals), strict=False)]
    if plan.intents_per_second:
        work.append(visitors.wish())
    tasks = [asyncio.ensure_future(each) for each in work]
    if plan.reconnect_at is not None:
        await asyncio.sleep(plan.reconnect_at)
        cut_at = time.monotonic()
        for node in nodes:
            node.cut()
        while any(node.synced_at < cut_at for node in nodes):  # noqa: ASYNC110 - an event of each node would cost more
            await asyncio.sleep(0.1)
        seen.settled_seconds = time.monotonic() - cut_at
        await asyncio.sleep(max(0.0, plan.seconds - plan.reconnect_at - seen.settled_seconds))
    else:
        await asyncio.sleep(plan.seconds)
    seen.processor_seconds = time.process_time() - used_before
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return seen


def main() -> None:
    plan = Plan(**json.load(sys.stdin))
    seen = asyncio.run(play(plan))
    answer = {name: vars(getattr(seen, name)) for name in ("syncs", "writes", "watches")}
    rest = {
        name: getattr(seen, name) for name in ("stream_events", "streams_lost", "settled_seconds", "processor_seconds")
    }
    json.dump(answer | rest, sys.stdout)


if __name__ == "__main__":
    main()
