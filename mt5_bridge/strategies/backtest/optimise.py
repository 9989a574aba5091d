"""Many backtests of one strategy: a grid of parameters, and walking forward with the best of each stretch.

Each combination is one run of `run.run`; worker processes share them out. Whoever searches long enough finds settings
that fit the past by luck, so every search keeps a stretch out of sample and says what became of its best there.
"""

from __future__ import annotations

import multiprocessing
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from mt5_bridge.strategies.backtest.recording import Recording
from mt5_bridge.strategies.backtest.result import Statistics
from mt5_bridge.strategies.backtest.run import CancelledError, Settings, run
from mt5_bridge.strategies.backtest.search_space import Create, SearchError

SHOWN: Final = 20
"""So many of the best are run out of sample."""
OBJECTIVES: Final[Mapping[str, Callable[[Statistics], float]]] = {
    "net_profit": lambda one: one.equity - one.deposit,
    "profit_factor": lambda one: one.profit_factor or 0.0,
    "recovery": lambda one: (one.equity - one.deposit) / (one.max_drawdown or 1.0),
    "bar_sharpe": lambda one: one.bar_sharpe or 0.0,
}
"""What can be searched for; more is better. `recovery` is net profit over the largest drawdown."""

Progress = Callable[[float], bool]


@dataclass(frozen=True)
class Trial:
    """One combination; `unseen` is what it did out of sample, None where it was not run there."""

    parameters: Mapping[str, Any]
    score: float
    seen: Statistics
    unseen: Statistics | None = None


@dataclass(frozen=True)
class Search:
    """What a search found, the best in sample first."""

    objective: str
    tried: int
    cut_msc: int
    """Market time (ms) at which the unseen stretch begins."""
    trials: Sequence[Trial]

    @property
    def note(self) -> str:
        """What the ranking is worth, in words."""
        shown = [trial for trial in self.trials if trial.unseen is not None]
        kept = sum(1 for trial in shown if trial.unseen is not None and trial.unseen.equity > trial.unseen.deposit)
        words = (
            f"{self.tried:,} combinations were ranked by what they did on one stretch of the past; the more are tried, "
            f"the more of the best one's lead is luck. Of the {len(shown)} best, {kept} made money on the "
            "stretch that the search had not seen."
        )
        return f"{words} Trust what holds there, not the first place." if shown else words

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "objective": self.objective,
            "tried": self.tried,
            "cut_msc": self.cut_msc,
            "note": self.note,
            "trials": [asdict(trial) for trial in self.trials[:SHOWN]],
        }


@dataclass(frozen=True)
class Step:
    """One step of walking forward: the best settings of a stretch, and what they did on the next."""

    first_msc: int
    cut_msc: int
    last_msc: int
    parameters: Mapping[str, Any]
    seen: Statistics
    unseen: Statistics


@dataclass(frozen=True)
class Walk:
    """Walking forward through the whole time; only the unseen parts count."""

    objective: str
    tried: int
    steps: Sequence[Step]

    @property
    def unseen_profit(self) -> float:
        """Sum of what the chosen settings made on the stretches after those that they were chosen on."""
        return round(sum(step.unseen.equity - step.unseen.deposit for step in self.steps), 2)

    @property
    def efficiency(self) -> float | None:
        """Profit per time out of sample over that in sample; None when there was none in sample."""
        seen = sum((step.seen.equity - step.seen.deposit) / (step.cut_msc - step.first_msc) for step in self.steps)
        unseen = sum((step.unseen.equity - step.unseen.deposit) / (step.last_msc - step.cut_msc) for step in self.steps)
        return unseen / seen if seen > 0 else None

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "objective": self.objective,
            "tried": self.tried,
            "unseen_profit": self.unseen_profit,
            "efficiency": self.efficiency,
            "steps": [asdict(step) for step in self.steps],
        }


class Workers:
    """Processes that run combinations on one recording, which each of them gets once."""

    def __init__(self, create: Create, recording: Recording, processes: int) -> None:
        self._create = create
        self._recording = recording
        self._processes = processes
        self._pool: Any = None

    @contextmanager
    def running(self) -> Iterator[Workers]:
        """Start them, and end them all however it goes."""
        if self._processes <= 1:
            self._recording = self._recording.kept()
            yield self
            return
        # A fresh interpreter: the caller may have threads, which a fork would copy half of.
        context = multiprocessing.get_context("spawn")
        with tempfile.TemporaryDirectory(prefix="m5") as folder:
            # Through a pipe each would have to read it before the next one is started.
            file = Path(folder) / "recording"
            file.write_bytes(pickle.dumps(self._recording, pickle.HIGHEST_PROTOCOL))
            with context.Pool(self._processes, _start, (self._create, file)) as pool:
                self._pool = pool
                yield self

    def map(self, jobs: Sequence[tuple[Mapping[str, Any], Settings]], progress: Progress) -> list[Statistics]:
        """Statistics of each job, in their order. Raises CancelledError."""
        found: dict[int, Statistics] = {}
        tasks = [(number, parameters, settings) for number, (parameters, settings) in enumerate(jobs)]
        if self._pool is None:
            results: Any = (_play(self._create, self._recording, task) for task in tasks)
        else:
            results = self._pool.imap_unordered(_work, tasks)
        for number, outcome in results:
            found[number] = outcome
            if not progress(len(found) / len(jobs)):
                raise CancelledError
        return [found[number] for number in range(len(jobs))]


_worker: dict[str, Any] = {}
"""What a worker process was started with; set once in it, before any work."""


def _start(create: Create, file: Path) -> None:
    recording: Recording = pickle.loads(file.read_bytes())  # noqa: S301 - of the process that has started this one
    _worker.update(create=create, recording=recording.kept())


def _work(task: tuple[int, Mapping[str, Any], Settings]) -> tuple[int, Statistics]:
    return _play(_worker["create"], _worker["recording"], task)


def _play(
    create: Create, recording: Recording, task: tuple[int, Mapping[str, Any], Settings]
) -> tuple[int, Statistics]:
    number, parameters, settings = task
    return number, run(create(parameters), recording, settings).statistics


def search(
    workers: Workers,
    tried: Sequence[Mapping[str, Any]],
    settings: Settings,
    objective: str,
    cut_msc: int,
    progress: Progress = lambda _: True,
) -> Search:
    """Rank combinations by an objective before `cut_msc`, and run the best ones after it. Raises CancelledError."""
    trials = _ranked(workers, tried, replace(settings, last_msc=cut_msc - 1), objective, lambda x: progress(x * 0.9))
    after = replace(settings, first_msc=cut_msc)
    best = trials[:SHOWN]
    unseen = workers.map([(one.parameters, after) for one in best], lambda x: progress(0.9 + x * 0.1))
    shown = [replace(one, unseen=outcome) for one, outcome in zip(best, unseen, strict=True)]
    return Search(objective, len(tried), cut_msc, [*shown, *trials[SHOWN:]])


def walk_forward(
    workers: Workers,
    tried: Sequence[Mapping[str, Any]],
    settings: Settings,
    objective: str,
    steps: int,
    progress: Progress = lambda _: True,
) -> Walk:
    """Choose the best on a stretch, run it on the next, `steps` times; stretches to choose on are three times as long.

    `settings` must have both times. Raises CancelledError, SearchError.
    """
    length = (settings.last_msc - settings.first_msc) // (steps + 3)
    if steps < 1 or length < 1:
        raise SearchError("walking forward needs at least one step and a stretch of time")
    done = []
    for number in range(steps):
        first = settings.first_msc + number * length
        cut, last = first + 3 * length, first + 4 * length
        before = replace(settings, first_msc=first, last_msc=cut - 1)
        best = _ranked(workers, tried, before, objective, _part(progress, number, steps))[0]
        after = replace(settings, first_msc=cut, last_msc=last - 1)
        (unseen,) = workers.map([(best.parameters, after)], lambda _: True)
        done.append(Step(first, cut, last, best.parameters, best.seen, unseen))
    return Walk(objective, len(tried), done)


def _part(progress: Progress, number: int, parts: int) -> Progress:
    return lambda share: progress((number + share) / parts)


def _ranked(
    workers: Workers, tried: Sequence[Mapping[str, Any]], settings: Settings, objective: str, progress: Progress
) -> list[Trial]:
    score = OBJECTIVES[objective]
    outcomes = workers.map([(parameters, settings) for parameters in tried], progress)
    trials = [Trial(one, score(seen), seen) for one, seen in zip(tried, outcomes, strict=True)]
    return sorted(trials, key=lambda trial: -trial.score)
