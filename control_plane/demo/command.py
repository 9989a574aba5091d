"""The `mt5farm demo` command."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from control_plane.demo.children import find_process, module, read_record
from control_plane.demo.run import Demo, Outcome, print_outcome
from control_plane.demo.settings import DemoError, DemoSettings

DEFAULT_DATA = Path(".mt5farm/demo")


def demo(
    data: Annotated[Path, typer.Option(help="Folder for everything the demo keeps.")] = DEFAULT_DATA,
    port: Annotated[int, typer.Option(min=1024, max=65000, help="Portal; the next three ports are taken too.")] = 8080,
    history: Annotated[Path | None, typer.Option(help="Folder with parquet ticks or bars to replay.")] = None,
    symbols: Annotated[str, typer.Option(help="Symbols of the market, separated by commas.")] = "EURUSD,GBPUSD,USDJPY",
    speed: Annotated[float, typer.Option(min=0.1, max=10_000, help="Market seconds per wall second.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic market.")] = 1,
    for_seconds: Annotated[float | None, typer.Option("--for", min=1, help="Run this long, count, stop.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object on the last line.")] = False,
) -> None:
    """Run the whole farm on this machine: broker, control plane, node, three accounts with a bot each."""
    settings = DemoSettings(
        data=data.resolve(),
        port=port,
        history=history.resolve() if history else None,
        symbols=tuple(symbol.strip() for symbol in symbols.split(",") if symbol.strip()),
        speed=speed,
        seed=seed,
        seconds=for_seconds,
        as_json=as_json,
    )
    stop = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, lambda *_: stop.set())
    sys.exit(_run(settings, stop))


def _run(settings: DemoSettings, stop: threading.Event) -> int:
    began = time.monotonic()

    def say(text: str) -> None:
        stream = sys.stderr if settings.as_json else sys.stdout
        # Nobody may be reading any more (a closed terminal or pipe); the children must be stopped all the same.
        with suppress(OSError):
            stream.write(f"[{time.monotonic() - began:5.1f} s] {text}\n")
            stream.flush()

    outcome = Outcome()
    try:
        with _only_one(settings.data):
            outcome = Demo(settings, say, stop).run()
    except DemoError as error:
        outcome.errors.append(str(error))
        say(str(error))
    except httpx.HTTPError as error:
        outcome.errors.append(f"The control plane does not answer: {error}")
        say(f"The control plane does not answer: {error}. See its log in {settings.logs}.")
    except OSError as error:
        # A full disk shows as OSError at whatever is written next.
        outcome.errors.append(f"{error.strerror}: {error.filename or settings.data}")
        say(f"{error.strerror}: {error.filename or settings.data}. Make room or fix the rights, then start again.")
    except KeyboardInterrupt:
        return 0 if settings.seconds is None else 130
    if settings.as_json:
        print_outcome(outcome)
    if settings.seconds is None:
        return 1 if outcome.errors else 0
    return 0 if outcome.good else 1


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Two demos on one folder would fight over it."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data / "demo.lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"A demo already runs on {data}. Stop it, or choose another folder: --data DIR --port N."
            raise DemoError(message) from error
        yield


def processes(
    data: Annotated[Path, typer.Option(help="Folder of the demo.")] = DEFAULT_DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """List every process of the demo on this machine: its own children and those of the node agent."""
    rows = demo_processes(data.resolve())
    if as_json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    for row in rows:
        sys.stdout.write(f"{row['pid']:>8}  {row['role']:<14} {row['id']}\n")


def demo_processes(data: Path) -> list[dict[str, Any]]:
    """Role, id and pid of each live process."""
    rows: list[dict[str, Any]] = []
    for handle in read_record(data / "children.json"):
        process = find_process(handle)
        if process is not None:
            rows.append({"role": handle["role"], "id": "", "pid": process.pid})
    listing = module("node_agent.cli", "processes", "--data", str(data / "node"), "--json")
    answer = subprocess.run(listing, capture_output=True, text=True, check=False)  # noqa: S603 - argv is built here
    if answer.returncode == 0:
        rows += [row for row in json.loads(answer.stdout) if row["alive"]]
    return rows
