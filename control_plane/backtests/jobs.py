"""Runs backtests: each in a process of its own, a few at once, called off or taken up again when need be.

The job only sets one going, so that others do not wait for it. A row says for how long its process counts as alive;
`run_once` puts those that were left behind back into the queue.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from control_plane.access.market import TIMEFRAMES
from control_plane.access.port import TerminalDoor, TerminalSession
from control_plane.access.service import answering_target, ask, not_ready
from control_plane.backtests import repository
from control_plane.backtests.model import Backtest, BacktestReport
from control_plane.backtests.state import BacktestState
from control_plane.backtests.work import facts_of
from control_plane.clock import Clock
from control_plane.db.engine import Database
from control_plane.errors import FarmError, invalid_field
from control_plane.identity.owner import Owner
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from mt5_bridge.simulated.market.bars import minutes_of

_ALIVE: Final = timedelta(seconds=60)
_PATIENCE: Final = timedelta(minutes=10)
_MOST_ATTEMPTS: Final = 3
_MOST_MINUTES: Final = 99_000
"""Minute bars that are asked of a terminal; longer tests are made of the timeframe's own bars."""
_HISTORY_BARS: Final = 1500
"""Before the first tested bar, for strategies to look back on."""
_log = structlog.get_logger(__name__)


class _Stopped(Exception):  # noqa: N818 - nothing went wrong
    """It was called off, or belongs to another process by now."""


class BacktestJobs:
    def __init__(self, database: Database, door: TerminalDoor, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._door = door
        self._outbox = outbox
        self._clock = clock
        self._cores = os.cpu_count() or 1
        self._places = threading.BoundedSemaphore(max(1, self._cores // 2))

    def begin(self, backtest_id: str) -> None:
        """Carry out the job: have it run in a thread. Once more is nothing, the first to claim it has it."""
        threading.Thread(target=self._run_in_turn, args=(backtest_id,), name=f"{backtest_id}", daemon=True).start()

    def run_once(self) -> None:
        """Have those run that were left behind; give up those that are left behind again and again."""
        now = self._clock.now()
        with self._database.write_as_system() as session:
            for backtest in repository.left_behind(session, now, now - _PATIENCE):
                backtest.alive_until = now
                if backtest.attempts >= _MOST_ATTEMPTS:
                    backtest.state, backtest.finished_at = BacktestState.FAILED, now
                    backtest.problem = "The process that ran it ended again and again."
                    continue
                backtest.state = BacktestState.QUEUED
                self._outbox.put(session, JobKind.RUN_BACKTEST, backtest.id)

    def run(self, backtest_id: str) -> None:
        """Claim and compute it, and write down what came of it. Nothing when it is not in the queue."""
        claimed = self._claim(backtest_id)
        if claimed is None:
            return
        try:
            content = self._compute(claimed)
        except _Stopped:
            self._finish(claimed, BacktestState.CANCELLED)
        except FarmError as error:
            self._finish(claimed, BacktestState.FAILED, problem=error.detail)
        else:
            problem = content.get("problem")
            if problem is not None:
                self._finish(claimed, BacktestState.FAILED, problem=f"{problem[:1].upper()}{problem[1:]}.")
            else:
                self._finish(claimed, BacktestState.DONE, content=content)

    def _run_in_turn(self, backtest_id: str) -> None:
        with self._places:
            try:
                self.run(backtest_id)
            except Exception as error:  # noqa: BLE001 - the row is taken up again when its time is over
                _log.warning("backtest_broke_off", backtest=backtest_id, error=type(error).__name__)

    def _claim(self, backtest_id: str) -> Backtest | None:
        with self._database.write_as_system() as session:
            backtest = repository.held(session, backtest_id)
            if backtest is None or backtest.state != BacktestState.QUEUED:
                return None
            if backtest.cancel_asked_at is not None:
                backtest.state, backtest.finished_at = BacktestState.CANCELLED, self._clock.now()
                return None
            backtest.state = BacktestState.RUNNING
            backtest.attempts += 1
            backtest.alive_until = self._clock.now() + _ALIVE
            session.flush()
            return backtest

    def _compute(self, backtest: Backtest) -> dict[str, Any]:
        task, bars = self._gather(backtest)
        with tempfile.TemporaryDirectory(prefix="backtest") as name:
            folder = Path(name)
            (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
            np.save(folder / "bars.npy", bars)
            command = [sys.executable, "-m", "control_plane.backtests.work", name]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own module
                try:
                    self._follow(backtest, process)
                finally:
                    process.kill()
            found = folder / "result.json"
            if not found.exists():
                return {"problem": "the process that computed it ended without a result"}
            content: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
            return content

    def _follow(self, backtest: Backtest, process: subprocess.Popen[str]) -> None:
        """Write its progress down until it ends. Raises _Stopped."""
        assert process.stdout is not None
        told = self._clock.now()
        for line in process.stdout:
            share = float(json.loads(line)["progress"])
            now = self._clock.now()
            if now - told >= timedelta(seconds=1):
                told = now
                self._note(backtest, share)
        process.wait()

    def _note(self, backtest: Backtest, share: float) -> None:
        with self._database.write_as_system() as session:
            row = repository.held(session, backtest.id)
            if row is None or not _is_mine(row, backtest) or row.cancel_asked_at is not None:
                raise _Stopped
            row.progress, row.alive_until = share, self._clock.now() + _ALIVE

    def _finish(
        self, backtest: Backtest, state: BacktestState, *, problem: str = "", content: dict[str, Any] | None = None
    ) -> None:
        with self._database.write_as_system() as session:
            row = repository.held(session, backtest.id)
            if row is None or not _is_mine(row, backtest):
                return
            row.state, row.problem, row.finished_at = state, problem[:300], self._clock.now()
            if content is not None:
                row.progress, row.summary = 1.0, _summary(content)
                session.add(BacktestReport(backtest_id=row.id, tenant_id=row.tenant_id, content=content))

    def _gather(self, backtest: Backtest) -> tuple[dict[str, Any], Any]:
        """The task, and bars (RATES_DTYPE) of the account's terminal. Raises FarmError."""
        owner = Owner(backtest.tenant_id, backtest.user_id)
        with self._database.read(backtest.tenant_id) as session:
            target = answering_target(session, owner, backtest.account_id, self._clock)
        timeframe = TIMEFRAMES[backtest.timeframe]
        wanted = backtest.bars + _HISTORY_BARS
        minutes = minutes_of(timeframe)
        by_minutes = wanted * minutes <= _MOST_MINUTES
        count, asked = (wanted * minutes, TIMEFRAMES["M1"]) if by_minutes else (wanted, timeframe)

        def question(terminal: TerminalSession) -> tuple[Any, Any]:
            terminal.symbol_select(backtest.symbol, True)
            # The newest bar is still forming.
            return terminal.symbol_info(backtest.symbol), terminal.copy_rates_from_pos(backtest.symbol, asked, 1, count)

        info, bars = ask(self._door, target, question)
        if info is None:
            raise invalid_field("symbol", f"The broker does not offer the symbol '{backtest.symbol}'.")
        if bars is None or len(bars) < 2:
            raise not_ready("The terminal has no bars of this symbol yet; please try again.")
        begin = max(0, len(bars) - (backtest.bars * minutes if by_minutes else backtest.bars))
        task = {
            "strategy": backtest.strategy,
            "parameters": backtest.parameters,
            "symbol": facts_of(info),
            "timeframe": timeframe,
            "volume": backtest.volume,
            "terms": backtest.terms,
            "ranges": backtest.ranges,
            "objective": backtest.objective,
            "walk_steps": backtest.walk_steps,
            "processes": self._cores,
            "first_msc": int(bars["time"][begin]) * 1000,
            "step": 60 if by_minutes else minutes * 60,
            "source": f"{'M1' if by_minutes else backtest.timeframe} bars of the terminal",
        }
        return task, bars


def _is_mine(row: Backtest, claimed: Backtest) -> bool:
    return row.state == BacktestState.RUNNING and row.attempts == claimed.attempts


def _summary(content: dict[str, Any]) -> dict[str, Any]:
    """What lists show of a report."""
    if "statistics" in content:
        figures = ("net_profit", "trades", "win_share", "profit_factor", "max_drawdown", "max_drawdown_share")
        return {name: content["statistics"][name] for name in figures}
    if "trials" in content:
        best = content["trials"][0]
        unseen = best["unseen"]["net_profit"] if best["unseen"] else None
        return {"tried": content["tried"], "parameters": best["parameters"], "unseen_profit": unseen}
    return {name: content[name] for name in ("tried", "unseen_profit", "efficiency")}
