"""The broker process: restarts, bad options, exactly-once execution."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mt5_bridge import codec
from mt5_bridge.simulated.admin import BrokerAdmin
from mt5_bridge.simulated.link import Frames, RemoteError, connect, opened, pack, unwrapped

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0}


class Raw:
    """A terminal's link spoken by hand."""

    def __init__(self, address: str, session: str = "one") -> None:
        self.socket = connect(address, 10.0)
        self.frames = Frames(self.socket)
        self._number = 0
        self.ask("login", 5001, "pw", "MT5Farm-Demo", session)

    def ask(self, verb: str, *arguments: Any) -> Any:
        self._number += 1
        self.frames.send((self._number, verb, arguments))
        return opened(self.frames.receive())

    def send(self, sequence: int) -> Any:
        return unwrapped(self.ask("send", sequence, sequence, codec.encode(BUY))[1])


@pytest.fixture
def house(stage: Any) -> Any:
    """A running broker with account 5001."""
    stage.broker("--speed", "60", "--symbols", "EURUSD")
    stage.admin.create_account(5001, password="pw")
    return stage


def test_a_killed_broker_comes_back_with_its_books(house: Any) -> None:
    link = Raw(house.address)
    result = link.send(1)
    link.frames.close()
    before, time_before = house.admin.deals(5001), house.admin.status()["market_time_msc"]
    house.kill(house._processes[0])
    house.broker("--speed", "60", "--symbols", "EURUSD")
    assert house.admin.deals(5001) == before
    again = Raw(house.address)
    (position,) = unwrapped(again.ask("call", "positions_get", codec.encode(()), codec.encode({}), ()))
    assert position.ticket == result.order
    again.frames.close()
    assert house.admin.status()["market_time_msc"] >= before[-1].time_msc
    assert house.admin.status()["market_time_msc"] >= time_before - 2 * 60_000


def test_a_request_sent_again_is_not_executed_again(house: Any) -> None:
    link = Raw(house.address)
    assert link.send(1) == link.send(1)
    link.frames.close()
    other = Raw(house.address)
    assert other.send(1).retcode == 10009
    assert unwrapped(other.ask("outcome", 1)[1]).order == other.send(1).order
    assert other.ask("outcome", 2) is None
    other.frames.close()
    assert len(house.admin.deals(5001)) == 2  # the deposit and one deal


def test_a_request_that_was_cut_off_is_dropped(house: Any) -> None:
    link = Raw(house.address)
    link.socket.sendall(pack((9, "send", (1, 1, codec.encode(BUY))))[:-3])
    link.frames.close()
    assert len(house.admin.deals(5001)) == 1


def test_a_request_whose_answer_nobody_took_is_in_the_books(house: Any) -> None:
    link = Raw(house.address)
    link.frames.send((9, "send", (1, 1, codec.encode(BUY))))
    link.frames.close()
    house.until(lambda: len(house.admin.deals(5001)) == 2)


def test_a_terminal_that_comes_back_ends_its_old_link(house: Any) -> None:
    old = Raw(house.address, "same")
    new = Raw(house.address, "same")
    with pytest.raises(ConnectionError):
        old.send(1)
    assert new.ask("outcome", 1) is None
    old.frames.close()
    new.frames.close()


def test_the_operator_s_side_needs_its_token(house: Any) -> None:
    token = house.folder / "broker" / "admin.token"
    assert token.stat().st_mode & 0o777 == 0o600
    with pytest.raises(RemoteError):
        BrokerAdmin(house.address, "wrong").status()
    with pytest.raises(RemoteError, match="Not found"):
        house.admin.deals(1)


def test_sigterm_ends_the_broker_cleanly_with_links_open(house: Any) -> None:
    link = Raw(house.address)
    process = house._processes[0]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert errors == ""
    link.frames.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "nonsense"], "HOST:PORT"),
        (["--speed", "0"], "--speed"),
        (["--speed", "fast"], "--speed"),
        (["--symbols", "NOPE"], "NOPE"),
        (["--history", "/nowhere", "--symbols", "EURUSD"], "/nowhere"),
        (["--history", "."], "--symbols"),
        (["--unknown"], "--unknown"),
    ],
)
def test_bad_options_are_one_sentence_and_code_2(stage: Any, options: list[str], words: str) -> None:
    base = ["--data", str(stage.folder / "broker"), "--listen", "127.0.0.1:0"]
    process = stage.run("mt5_bridge.simulated.server", *base, *options)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert words in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_broken_history_file_is_named(stage: Any) -> None:
    (stage.folder / "ticks_EURUSD.parquet").write_text("broken")
    data = str(stage.folder / "broker")
    options = ["--data", data, "--listen", "127.0.0.1:0", "--history", str(stage.folder), "--symbols", "EURUSD"]
    process = stage.run("mt5_bridge.simulated.server", *options)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "ticks_EURUSD.parquet is not a readable Parquet file" in errors


def test_a_taken_port_is_said(stage: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        data = str(stage.folder / "broker")
        process = stage.run("mt5_bridge.simulated.server", "--data", data, "--listen", address, "--symbols", "EURUSD")
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f"cannot listen on {address}" in errors


def test_a_terminal_with_bad_options_says_so(stage: Any) -> None:
    long_path = Path(stage.folder) / ("x" * 120)
    for options in (
        [],
        ["--folder", str(stage.folder), "--ipc", "nonsense"],
        ["--folder", str(stage.folder), "--ipc", f"unix:{long_path}"],
    ):
        process = stage.run("mt5_bridge.simulated.terminal", *options)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 2
        assert len(errors.strip().splitlines()) == 1
    assert list((stage.folder / "config").iterdir()) == []


def test_the_end_of_a_replay_is_told_and_a_restart_stays_at_the_end(stage: Any) -> None:
    times = np.arange(0, 7_200_000, 1000) + 1_758_542_400_000
    bid = np.linspace(1.1, 1.2, len(times))
    pq.write_table(pa.table({"time_msc": times, "bid": bid, "ask": bid + 0.0001}), stage.folder / "x_EURUSD.parquet")
    options = ["--history", str(stage.folder), "--symbols", "EURUSD", "--speed"]
    first = stage.broker(*options, "1")
    stage.admin.create_account(5001, password="secret-pw")
    stage.terminal()
    stage.until(lambda: "authorized" in stage.journal())
    assert stage.admin.status()["ended"] is False
    stage.kill(first)
    stage.broker(*options, "7000")
    stage.until(lambda: "end of its history" in stage.journal())
    status = stage.admin.status()
    assert status["ended"] is True
    stage.kill(stage._processes[-1])
    stage.broker(*options, "1")
    stage.until(lambda: stage.admin.status()["ended"])
    assert stage.admin.status()["market_time_msc"] == status["market_time_msc"]
