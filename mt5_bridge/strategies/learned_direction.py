"""Learned direction: a model trained again and again on the account's own history says where the next bars go.

Features of a closed bar (`FEATURES`, `features`): the change of the close over 1, 3, 10 and 30 bars, its distance from
the average of 30 bars, and the bar's range, all in average ranges of 30 bars; and the hour of the day as a point on a
circle. The label is whether the close is higher `horizon` bars later. The model is a logistic regression, kept as a few
numbers in the strategy's state: nothing is unpickled, and a decision costs no more than a sum.

Walking forward: each `retrain` bars it is trained anew on the `train` newest bars whose label is known, in a thread of
its own, and takes over `LEAD` bars later, so that a decision does not depend on how long the training took. A quarter
of the bars, the newest, are kept out of a first fit to measure it (`accuracy`); the model in use is then fit on all.
It does not trade before it is trained, when the measure is not above `accuracy`, and when the model is older than
`STALE` times `retrain` bars, those included that closed while it did not look. A model that was made of other features,
or with other settings of the training, is thrown away when the bot starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from mt5_bridge.strategies.base import STOPS, Context, Parameter, ParameterError, Side, Strategy, UnableError

FEATURES: Final = ("change_1", "change_3", "change_10", "change_30", "from_average", "range", "hour_sin", "hour_cos")
LEAD: Final = 3
STALE: Final = 2
_CHANGES: Final = (1, 3, 10, 30)
_WINDOW: Final = 30
_DAY: Final = 86_400
_HELD_OUT: Final = 0.25
_FEWEST: Final = 50
"""So many bars of each direction the training part must have."""

Values = npt.NDArray[np.float64]


def features(bars: npt.NDArray[Any]) -> Values:
    """A row of `FEATURES` for each bar from number `_WINDOW` on, made of it and the `_WINDOW` bars before alone."""
    close, high, low = (np.ascontiguousarray(bars[name], np.float64) for name in ("close", "high", "low"))
    windows = np.lib.stride_tricks.sliding_window_view
    ranges = windows(high - low, _WINDOW + 1).mean(axis=1)
    scale = np.where(ranges > 0, ranges, 1.0)
    now = close[_WINDOW:]
    changes = [(now - close[_WINDOW - back : len(close) - back]) / scale for back in _CHANGES]
    away = (now - windows(close, _WINDOW + 1).mean(axis=1)) / scale
    angle = (bars["time"][_WINDOW:] % _DAY) * (2 * np.pi / _DAY)
    return np.column_stack([*changes, away, (high - low)[_WINDOW:] / scale, np.sin(angle), np.cos(angle)])


def train(bars: npt.NDArray[Any], horizon: int, seed: int) -> dict[str, Any] | None:
    """A model of bars as plain values; None when they do not go both ways often enough. Raises UnableError."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise UnableError("Learned direction needs scikit-learn; install mt5farm[ai] on the node") from error
    rows = features(bars)[:-horizon]
    close = bars["close"][_WINDOW:]
    rises = close[horizon:] > close[:-horizon]
    cut = int(len(rows) * (1 - _HELD_OUT))
    # The labels of the last bars before the cut are made of prices behind it.
    first = slice(0, max(0, cut - horizon))
    if min(int(rises[first].sum()), int((~rises[first]).sum())) < _FEWEST:
        return None
    mean, deviation = rows.mean(axis=0), rows.std(axis=0)
    scaled = (rows - mean) / np.where(deviation > 0, deviation, 1.0)
    model = LogisticRegression(random_state=seed)
    accuracy = float(model.fit(scaled[first], rises[first]).score(scaled[cut:], rises[cut:]))
    model.fit(scaled, rises)
    weights = model.coef_[0] / np.where(deviation > 0, deviation, 1.0)
    return {
        "weights": [float(weight) for weight in weights],
        "offset": float(model.intercept_[0] - weights @ mean),
        "accuracy": accuracy,
        "trained_to": int(bars["time"][-1]),
        "version": _version(bars, horizon, seed),
    }


def _version(bars: npt.NDArray[Any], horizon: int, seed: int) -> str:
    """Names a model by what it was made of: the data and the settings."""
    digest = hashlib.sha256(json.dumps([FEATURES, horizon, seed]).encode())
    digest.update(np.ascontiguousarray(bars).tobytes())
    return digest.hexdigest()[:16]


class LearnedDirection(Strategy):
    """Holds the side that the model finds likely enough, and nothing when it finds neither."""

    name: ClassVar[str] = "learned_direction"
    title: ClassVar[str] = "Learned direction (AI)"
    help: ClassVar[str] = "A model trained on the account's own history, again and again, says where the next bars go."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("train", "Training bars", "Closed bars that a model is trained on.", int, 2000, 300, 50_000),
        Parameter("retrain", "Train again after", "Bars after which a new model is trained.", int, 250, 10, 10_000),
        Parameter("horizon", "Horizon", "Bars ahead whose direction is learned.", int, 10, 1, 500),
        Parameter("confidence", "Confidence", "How likely a direction must be to open.", float, 0.55, 0.5, 0.99),
        Parameter("accuracy", "Accuracy", "Share of unseen bars that a model must get right.", float, 0.5, 0, 0.99),
        Parameter("seed", "Seed", "Of the training; the same gives the same model.", int, 1, 0, 1_000_000),
        *STOPS,
    )

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        if self.settings["horizon"] * 4 > self.settings["train"]:
            raise ParameterError("Training bars must be at least four times Horizon")
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="training")
        self._training: Future[dict[str, Any] | None] | None = None

    @property
    def bars_needed(self) -> int:
        return _WINDOW + 1

    def on_start(self, context: Context) -> None:
        try:
            import sklearn  # noqa: F401 - said here, and not when the first training is due
        except ImportError as error:
            raise UnableError("Learned direction needs scikit-learn; install mt5farm[ai] on the node") from error
        state = context.state
        state.pop("wait", None)  # a training that was under way ended with its process
        if state.get("made_for") != self._made_for and state.pop("model", None) is not None:
            context.log("the model was made of other features or settings; another one is trained")
        state["made_for"] = self._made_for
        state.setdefault("age", 0)

    def on_stop(self, context: Context) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def on_bar(self, context: Context, bars: npt.NDArray[Any]) -> None:
        state = context.state
        passed = self._passed(context, bars)
        if passed:
            state["seen"] = int(bars["time"][-1])
            state["age"] += passed
            self._learn(context)
        model, held = state.get("model"), context.held
        if model is None or not self._trusts(model, state["age"]):
            if held is not None:
                self.hold(context, None)
            return
        likely = 1.0 / (1.0 + np.exp(-(features(bars)[-1] @ np.array(model["weights"]) + model["offset"])))
        if likely >= self.settings["confidence"]:
            wanted: Side | None = Side.LONG
        elif 1 - likely >= self.settings["confidence"]:
            wanted = Side.SHORT
        else:
            wanted = None
        if wanted is not held:
            self.hold(context, wanted)

    @property
    def _made_for(self) -> list[Any]:
        """What a model has to agree with."""
        return [*FEATURES, *(self.settings[name] for name in ("train", "horizon", "seed"))]

    def _passed(self, context: Context, bars: npt.NDArray[Any]) -> int:
        """Bars that have closed since the last one it saw: several after a time away, 0 when it is asked again."""
        last = context.state.get("seen")
        if last is None or last == int(bars["time"][-2]):
            return 1
        missed = context.bars(STALE * self.settings["retrain"] + 1)
        return int(np.count_nonzero(missed["time"] > last))

    def _trusts(self, model: Mapping[str, Any], age: int) -> bool:
        """Whether a model that is so many bars old may trade."""
        fresh = age <= STALE * int(self.settings["retrain"])
        return fresh and bool(model["accuracy"] > self.settings["accuracy"])

    def _learn(self, context: Context) -> None:
        """Begin a training that is due, and take over what one that was begun `LEAD` bars ago has found."""
        state = context.state
        if self._training is not None:
            state["wait"] -= 1
            if state["wait"] > 0:
                return
            model = self._training.result()
            self._training = None
            if model is not None:
                state.update(model=model, age=LEAD)
                context.log(f"model {model['version']}: {model['accuracy']:.1%} of unseen bars right")
            return
        if "model" in state and state["age"] < self.settings["retrain"]:
            return
        wanted = self.settings["train"] + _WINDOW + self.settings["horizon"]
        history = context.bars(wanted)
        if len(history) == wanted:
            state["wait"] = LEAD
            self._training = self._pool.submit(train, history.copy(), self.settings["horizon"], self.settings["seed"])
