"""The client for asyncio gives what the other one gives, and lets calls overlap."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt5_bridge.client import AsyncMetaTrader5, BridgeError, BridgeLost, MetaTrader5
from mt5_bridge.contract import FUNCTIONS
from mt5_bridge.structs import RATES_DTYPE, AccountInfo
from tests.bridge_doubles import LOGIN, TOKEN, RunningWorker, StubBackend, eventually, running_worker

BUY = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "price": 1.1, "magic": 7}


@pytest.fixture
def backend() -> StubBackend:
    return StubBackend()


@pytest.fixture
def worker(backend: StubBackend) -> Iterator[RunningWorker]:
    with running_worker(backend) as running:
        with MetaTrader5(running.address, token=TOKEN, epoch=7, principal="user:usr_1") as mt5:
            eventually(lambda: mt5.describe()["connected"])
        yield running


def connect(worker: RunningWorker, **changes: Any) -> Coroutine[Any, Any, AsyncMetaTrader5]:
    permission = {"token": TOKEN, "scope": "trade", "epoch": 7, "principal": "user:usr_1"}
    return AsyncMetaTrader5.connect(worker.address, **permission | changes)


def test_values_errors_and_arrays_are_those_of_the_package(worker: RunningWorker, backend: StubBackend) -> None:
    backend.bars = np.zeros(200_000, RATES_DTYPE)
    backend.bars["close"] = np.arange(200_000)

    async def run() -> None:
        async with await connect(worker) as mt5:
            assert await mt5.initialize(login=LOGIN)
            info = await mt5.account_info()
            assert (type(info), info.login) == (AccountInfo, LOGIN)
            rates = await mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_M1, 0, 200_000)
            assert np.array_equal(rates, backend.bars)
            assert (rates.flags.writeable, rates.flags.owndata) == (False, True)
            assert await mt5.symbol_info("NOPE") is None
            assert mt5.last_error() == (-4, "Terminal: Not found")
            assert await mt5.symbol_info() is None
            assert mt5.last_error() == (-2, "Invalid arguments")
            assert not await mt5.initialize(login=1)

    asyncio.run(run())


def test_calls_overlap_and_each_gets_its_own_answer(worker: RunningWorker, backend: StubBackend) -> None:
    backend.bars = np.zeros(5_000, RATES_DTYPE)

    async def run() -> None:
        async with await connect(worker) as mt5:
            calls = [mt5.copy_rates_from_pos("EURUSD", 1, 0, count) for count in range(1, 300)]
            calls += [mt5.version() for _ in range(100)]
            answers = await asyncio.gather(*calls)
            assert [len(rates) for rates in answers[:299]] == list(range(1, 300))
            assert set(answers[299:]) == {(500, 5000, "01 Jan 2026")}

    asyncio.run(run())


def test_a_cancelled_call_leaves_the_next_ones_right(worker: RunningWorker) -> None:
    async def run() -> None:
        async with await connect(worker) as mt5:
            call = asyncio.ensure_future(mt5.version())
            await asyncio.sleep(0)
            call.cancel()
            assert (await mt5.account_info()).login == LOGIN

    asyncio.run(run())


def test_trading_and_the_three_python_functions(worker: RunningWorker) -> None:
    async def run() -> None:
        async with await connect(worker) as mt5:
            first = await mt5.send_once("a", BUY)
            assert await mt5.send_once("a", BUY) == first
            row = await mt5.outcome("a")
            assert row is not None
            assert row["state"] == "done"
            assert (await mt5.Buy("EURUSD", 0.1)).retcode == 10009
            assert await mt5.Close("EURUSD") is True

    asyncio.run(run())


def test_an_order_that_is_given_up_is_not_sent_any_more(worker: RunningWorker, backend: StubBackend) -> None:
    async def run() -> None:
        async with await connect(worker) as mt5:
            await mt5.send_once("a", BUY, trace="req_1")
            assert (await mt5.give_up("a"))["state"] == "done"
            assert (await mt5.give_up("b"))["state"] == "not_executed"
            with pytest.raises(BridgeError, match="not_executed"):
                await mt5.send_once("b", BUY)
            rows = await mt5.journal()
            assert [(row["client_order_id"], row["state"]) for row in rows] == [("a", "done"), ("b", "not_executed")]
            assert rows[0]["request"] == BUY
            assert await mt5.journal(rows[0]["sequence"]) == rows[1:]

    asyncio.run(run())
    assert len(backend.sent) == 1


def test_refusals_and_broken_links_are_exceptions(worker: RunningWorker) -> None:
    async def run() -> None:
        with pytest.raises(BridgeError, match="bad_token"):
            await connect(worker, token="another-secret-00000")
        async with await connect(worker, scope="read") as reader:
            with pytest.raises(BridgeError, match="read_only_ticket"):
                await reader.order_send(BUY)
            reader.close()
            with pytest.raises(BridgeLost):
                await reader.version()
        with pytest.raises(BridgeLost):
            await AsyncMetaTrader5.connect(f"unix:{Path('/nowhere')}", token=TOKEN)

    asyncio.run(run())


def test_every_function_is_there() -> None:
    assert not [name for name in FUNCTIONS if not callable(vars(AsyncMetaTrader5).get(name))]
