"""`mt5farm demo` from the outside: a timed run, a second start, and starts that cannot succeed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.demo_farm import HISTORY, ROOT, DemoFarm
from tests.ports import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def demo_command(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "control_plane.cli", "demo", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


@pytest.fixture
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="m5demo", dir="/tmp"))


def test_a_timed_run_counts_the_same_deals_on_both_sides_and_only_one_later_start_finds_them(folder: Path) -> None:
    market = ["--history", str(HISTORY), "--symbols", "EURUSD,GBPUSD"] if HISTORY.exists() else []
    first = DemoFarm(*market, "--speed", "300", "--for", "20", "--json", data=folder)
    counted = first.result(150)
    assert first.process.returncode == 0, first.said()
    assert (counted["terminals_ready"], counted["bots_running"]) == (3, 3)
    assert (counted["lost"], counted["duplicated"], counted["errors"]) == (0, 0, [])
    assert counted["deals_recorded"] == counted["deals_broker"] >= 10
    assert counted["orders_sent"] >= 10
    assert first.processes() == []

    second = DemoFarm(*market, "--speed", "300", "--for", "600", "--json", data=folder, port=first.port)
    try:
        second.wait_up()
        assert second.recorded_trades() >= counted["deals_recorded"]
        assert len(second.client.get("/accounts").json()["items"]) == 3
        assert len(second.client.get("/bots").json()["items"]) == 3
        third = demo_command("--data", str(folder), "--port", str(free_ports(4)))
        assert third.returncode == 1
        assert "already runs" in third.stdout
    finally:
        again = second.finish()
        second.stop()
    assert (again["lost"], again["duplicated"], again["errors"]) == (0, 0, [])
    assert again["deals_recorded"] >= counted["deals_recorded"]
    assert second.processes() == []


def test_a_taken_port_is_named(folder: Path) -> None:
    port = free_ports(4)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port + 2))
        other.listen()
        answer = demo_command("--data", str(folder), "--port", str(port))
    assert answer.returncode == 1
    assert f"Port {port + 2} (for the node gateway) is taken" in answer.stdout
    assert "--port" in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr


def test_a_full_disk_is_named(folder: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk can only be mounted by root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    try:
        answer = demo_command("--data", str(folder), "--port", str(free_ports(4)))
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert answer.returncode == 1
    assert "MB free" in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr


def test_a_history_folder_with_a_broken_file_is_named(folder: Path) -> None:
    history = folder / "history"
    history.mkdir()
    (history / "mt5_ticks_EURUSD_20250101.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")
    data = folder / "data"
    answer = demo_command(
        "--data", str(data), "--port", str(free_ports(4)), "--history", str(history), "--symbols", "EURUSD"
    )
    assert answer.returncode == 1
    assert "mt5_ticks_EURUSD_20250101.parquet" in answer.stdout
    assert "Traceback" not in answer.stdout + answer.stderr
