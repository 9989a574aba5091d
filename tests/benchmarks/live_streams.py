"""What 200 open streams of live updates cost one process: `python -m tests.benchmarks.live_streams`.

10 users with 20 browsers each on SQLite; 20 changes a second for 15 s, each told to the 20 browsers of one user.
Equal changes that come before a browser was told of the first are told once, so a loaded machine counts fewer frames.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import structlog
import uvicorn

from control_plane.app import create_app
from control_plane.bus.port import Change, Topic
from tests.ports import free_ports
from tests.redis_server import wait_until
from tests.unit.control_plane.world import build_world

USERS, BROWSERS, CHANGES, SECONDS = 10, 20, 20, 15


def serve(port: int, pipe: Connection) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    world = build_world(Path(tempfile.mkdtemp(prefix="m5", dir="/tmp")))
    traders = [world.trader(f"u{number}@example.com") for number in range(USERS)]
    accounts = [(trader.user["id"], trader.connect(6000 + number)["id"]) for number, trader in enumerate(traders)]
    config = uvicorn.Config(create_app(world.farm), port=port, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    wait_until(lambda: server.started)
    pipe.send([trader.http.cookies["mt5farm_session"] for trader in traders])
    pipe.recv()  # all streams are open
    process = psutil.Process()
    used, began = process.cpu_times(), time.monotonic()
    for number in range(CHANGES * SECONDS):
        user_id, account_id = accounts[number % USERS]
        world.farm.bus.publish(Change(Topic.ACCOUNT, account_id, user_id, account_id))
        time.sleep(max(0.0, began + (number + 1) / CHANGES - time.monotonic()))
    spent, lasted = process.cpu_times(), time.monotonic() - began
    pipe.send((spent.user + spent.system - used.user - used.system, lasted, process.memory_info().rss))


async def listen(port: int, cookie: str, opened: asyncio.Semaphore, frames: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nCookie: mt5farm_session={cookie}\r\n\r\n".encode())
    while line := await reader.readline():
        if line.startswith(b"event: heartbeat"):
            opened.release()
        frames[0] += line.startswith(b"event: account")


async def browse(port: int, pipe: Connection) -> None:
    opened, frames = asyncio.Semaphore(0), [0]
    cookies = await asyncio.to_thread(pipe.recv)
    began = time.monotonic()
    tasks = [asyncio.create_task(listen(port, each, opened, frames)) for each in cookies for _ in range(BROWSERS)]
    for _ in tasks:
        await opened.acquire()
    print(f"{len(tasks)} streams open after {time.monotonic() - began:.1f} s")
    pipe.send("go")
    cpu, lasted, memory = await asyncio.to_thread(pipe.recv)
    await asyncio.sleep(2)
    told = USERS * BROWSERS * CHANGES * SECONDS // USERS
    print(f"{frames[0]} of {told} frames in {lasted:.1f} s, {100 * cpu / lasted:.0f} % of a core, {memory >> 20} MB")
    for task in tasks:
        task.cancel()


def main() -> None:
    port, (here, there) = free_ports(1), multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port, there), daemon=True)
    server.start()
    asyncio.run(browse(port, here))
    server.terminate()


if __name__ == "__main__":
    main()
