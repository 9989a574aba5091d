"""A bot against a worker over a real socket: it trades once, whatever happens in between."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mt5_bridge import settlement
from mt5_bridge.auth import bot_token
from mt5_bridge.journal import Journal
from mt5_bridge.strategies import runner
from mt5_bridge.strategies.base import Context, Parameter, Strategy
from mt5_bridge.strategies.bot_files import BotReport, load_bot_config
from mt5_bridge.strategies.registry import create
from mt5_bridge.structs import RATES_DTYPE
from tests.bridge_doubles import TOKEN, RunningWorker, StubBackend, eventually, running_worker

UP, DOWN = (3.0, 2.0, 1.0, 9.0, 9.0), (1.0, 2.0, 3.0, -9.0, -9.0)


class RunningBot:
    def __init__(self, worker: RunningWorker, **change: Any) -> None:
        self.folder = worker.folder
        self.file = worker.folder / "bot.json"
        token = worker.folder / "bot.token"
        token.write_text(bot_token(TOKEN, "bot:bot_1"))
        config: dict[str, Any] = {
            "bot_id": "bot_1",
            "revision": 2,
            "strategy": "moving_average_cross",
            "symbol": "EURUSD",
            "timeframe": "M1",
            "volume": 0.1,
            "magic": 77,
            "parameters": {"fast": 1, "slow": 3},
            "worker": worker.address,
            "token_file": str(token),
            "epoch": 7,
            "status_file": str(worker.folder / "status.json"),
            "log_file": str(worker.folder / "bot.log"),
        }
        self.file.write_text(json.dumps(config | change))
        self.stop_event = threading.Event()
        loaded = load_bot_config(self.file)
        self.bot = runner.Bot(
            loaded,
            create(loaded.strategy, loaded.parameters),
            BotReport(loaded),
            runner.connector(loaded),
            self.stop_event,
        )
        self.thread = threading.Thread(target=self.bot.run, daemon=True)

    def status(self) -> dict[str, Any]:
        path = self.folder / "status.json"
        data: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return data

    def log(self) -> list[dict[str, Any]]:
        path = self.folder / "bot.log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def backend() -> StubBackend:
    stub = StubBackend()
    show(stub, 1, UP)
    return stub


@pytest.fixture
def worker(backend: StubBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningWorker]:
    monkeypatch.setattr(settlement, "UNDER_WAY_SECONDS", 5.0)
    with running_worker(backend) as running:
        yield running


@pytest.fixture
def bot(worker: RunningWorker) -> Iterator[RunningBot]:
    running = RunningBot(worker)
    running.thread.start()
    yield running
    running.stop_event.set()
    running.thread.join(10)
    assert not running.thread.is_alive()


def show(backend: StubBackend, minute: int, closes: tuple[float, ...]) -> None:
    """Let the terminal have these bars; the last one is still forming."""
    array = np.zeros(len(closes), RATES_DTYPE)
    array["time"] = np.arange(len(closes)) * 60 + minute * 60
    array["close"] = closes
    backend.bars = array


def let_it_look_again(backend: StubBackend, times: int = 3) -> None:
    """Wait until the bot has looked at the bars `times` more."""
    seen = backend.calls.count("copy_rates_from_pos")
    eventually(lambda: backend.calls.count("copy_rates_from_pos") >= seen + times)


def test_it_opens_once_at_a_cross_and_reverses_once_at_the_next(backend: StubBackend, bot: RunningBot) -> None:
    eventually(lambda: len(backend.positions) == 1)
    let_it_look_again(backend)
    assert [request["type"] for request in backend.sent] == [0]
    assert (backend.sent[0]["magic"], backend.sent[0]["type_filling"]) == (77, 0)
    assert bot.status()["phase"] == "running"
    show(backend, 2, DOWN)
    eventually(lambda: len(backend.sent) == 3)
    let_it_look_again(backend)
    assert [position.type for position in backend.positions] == [1]
    assert backend.sent[1]["position"] == backend.history[0].ticket
    assert [line["level"] for line in bot.log()] == ["info"] * 3


def test_positions_of_others_are_left_alone(backend: StubBackend, bot: RunningBot) -> None:
    eventually(lambda: backend.positions)
    backend.positions[0] = type(backend.positions[0])(
        5 if name == "magic" else value for name, value in backend.positions[0]._asdict().items()
    )
    show(backend, 2, DOWN)
    eventually(lambda: len(backend.sent) == 2)
    assert "position" not in backend.sent[1]


@pytest.mark.parametrize("executed", [True, False])
def test_an_answer_that_is_lost_is_followed_up_and_the_order_not_repeated(
    backend: StubBackend, worker: RunningWorker, executed: bool
) -> None:
    backend.on_send = backend.fill_and_lose_the_answer if executed else backend.lose
    bot = RunningBot(worker)
    bot.thread.start()
    eventually(lambda: backend.sent and not backend.reachable)
    backend.on_send = backend.fill
    backend.reachable = True
    eventually(lambda: bot.status()["phase"] == "running" and bot.bot._execution._pending is None)
    let_it_look_again(backend)
    bot.stop_event.set()
    bot.thread.join(10)
    assert len(backend.sent) == 1
    assert len(backend.positions) == int(executed)


def test_a_bot_started_again_in_the_same_bar_does_not_trade_again(backend: StubBackend, worker: RunningWorker) -> None:
    for _ in range(2):
        bot = RunningBot(worker)
        bot.thread.start()
        let_it_look_again(backend)
        bot.stop_event.set()
        bot.thread.join(10)
        backend.positions.clear()  # as if the stop loss had closed it within the bar
        backend.bid += 0.001
    assert len(backend.sent) == 1
    assert [line["level"] for line in bot.log()] == ["info"]


def test_while_an_outcome_is_unknown_it_does_not_act_on_new_bars(backend: StubBackend, worker: RunningWorker) -> None:
    states: list[str] = []

    def second(request: dict[str, Any]) -> Any:
        journal = Journal(worker.folder / "journal.sqlite3", time.time)
        states.extend(entry.state for entry in journal.after(0, 10)[:1])
        journal.close()
        return backend.fill(request)

    backend.on_send = backend.lose
    bot = RunningBot(worker)
    bot.thread.start()
    eventually(lambda: backend.sent and not backend.reachable)
    show(backend, 2, UP)
    backend.on_send = second
    backend.reachable = True
    eventually(lambda: len(backend.sent) == 2)
    bot.stop_event.set()
    bot.thread.join(10)
    assert states == ["not_executed"]


def test_it_survives_a_worker_that_goes_and_comes_back(backend: StubBackend) -> None:
    with running_worker(backend) as worker:
        bot = RunningBot(worker)
        bot.thread.start()
        eventually(lambda: len(backend.sent) == 1)
        worker.stop()
        eventually(lambda: bot.status()["phase"] == "starting")
        again = RunningWorker(backend, worker.folder)
        again.start()
        eventually(lambda: bot.status()["phase"] == "running")
        show(backend, 2, DOWN)
        eventually(lambda: len(backend.sent) == 3)
        bot.stop_event.set()
        bot.thread.join(10)
        again.stop()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"strategy": "martingale"}, "no strategy"),
        ({"parameters": {"fast": 9, "slow": 3}}, "Fast period"),
        ({"symbol": "NOPE"}, "no symbol NOPE"),
        ({"volume": 0.015}, "not a multiple"),
        ({"volume": 1000}, "outside"),
    ],
)
def test_what_can_never_work_ends_with_exit_code_3_and_says_why(
    worker: RunningWorker, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], text: str
) -> None:
    monkeypatch.setattr(runner, "_stop_on_signal", lambda stop: None)
    bot = RunningBot(worker)
    bot.file.write_text(json.dumps(json.loads(bot.file.read_text()) | change))
    assert runner.main(["--config", str(bot.file)]) == 3
    assert bot.status()["phase"] == "failed"
    assert text in bot.status()["detail"]


def test_a_file_that_cannot_be_read_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bot.json").write_text("{")
    assert runner.main(["--config", str(tmp_path / "bot.json")]) == 2
    assert "not valid JSON" in capsys.readouterr().err


class Remembering(Strategy):
    """Counts its bars in its state, and is told of its deals."""

    name: ClassVar[str] = "remembering"
    title: ClassVar[str] = "Remembering"
    help: ClassVar[str] = ""
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    bars_needed = 2

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.told: list[int] = []
        self.found: dict[str, Any] = {}

    def on_start(self, context: Context) -> None:
        self.found = dict(context.state)

    def on_bar(self, context: Context, bars: Any) -> None:
        context.state["bars"] = context.state.get("bars", 0) + 1
        if context.state["bars"] == 1:
            context.buy()

    def on_trade(self, context: Context, deal: Any) -> None:
        self.told.append(deal.ticket)


def remembering(worker: RunningWorker, **change: Any) -> tuple[RunningBot, Remembering]:
    bot, strategy = RunningBot(worker, **change), Remembering({})
    config = load_bot_config(bot.file)
    bot.bot = runner.Bot(config, strategy, BotReport(config), runner.connector(config), bot.stop_event)
    bot.thread = threading.Thread(target=bot.bot.run, daemon=True)
    bot.thread.start()
    return bot, strategy


def stop(bot: RunningBot) -> None:
    bot.stop_event.set()
    bot.thread.join(10)
    assert not bot.thread.is_alive()


def test_state_and_the_news_of_deals_outlive_a_restart(backend: StubBackend, worker: RunningWorker) -> None:
    first, strategy = remembering(worker)
    eventually(lambda: strategy.told)
    stop(first)
    assert (strategy.found, len(strategy.told), len(backend.sent)) == ({}, 1, 1)
    again, other = remembering(worker)
    let_it_look_again(backend)
    show(backend, 2, UP)
    eventually(lambda: again.bot._context.state["bars"] == 2)
    stop(again)
    assert (other.found, other.told, len(backend.sent)) == ({"bars": 1}, [], 1)


def test_the_state_of_another_market_is_not_taken_for_its_own(backend: StubBackend, worker: RunningWorker) -> None:
    first, _ = remembering(worker)
    eventually(lambda: (worker.folder / "state.json").exists() and first.bot._context.state)
    stop(first)
    other, strategy = remembering(worker, timeframe="M5")
    eventually(lambda: other.bot._started)
    stop(other)
    assert strategy.found == {}
