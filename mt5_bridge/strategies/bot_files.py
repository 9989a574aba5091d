"""The files between a bot and the agent that runs it: configuration in, status and log out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from mt5_bridge.addresses import parse_address
from mt5_bridge.contract import CONSTANT_GROUPS
from mt5_bridge.worker_config import ConfigError, load_object, required


class Phase(StrEnum):
    """What a bot is doing."""

    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True)
class BotConfig:
    """One bot: a strategy on a symbol and timeframe of one terminal. Volume is lots."""

    bot_id: str
    revision: int
    strategy: str
    symbol: str
    timeframe: int
    volume: float
    magic: int
    parameters: Mapping[str, Any]
    worker: str
    token_file: Path
    epoch: int
    status_file: Path
    log_file: Path
    paper: bool = False
    """Orders are filled by the bot itself and never sent; see `paper`."""


def load_bot_config(path: Path) -> BotConfig:
    """Read a bot's configuration. Raises ConfigError."""
    data = load_object(path)
    volume = data.get("volume")
    if isinstance(volume, bool) or not isinstance(volume, int | float) or not volume > 0:
        raise ConfigError("the configuration needs 'volume' above 0")
    try:
        parse_address(required(data, "worker", str))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return BotConfig(
        bot_id=required(data, "bot_id", str),
        revision=required(data, "revision", int),
        strategy=required(data, "strategy", str),
        symbol=required(data, "symbol", str),
        timeframe=_timeframe(data.get("timeframe")),
        volume=float(volume),
        magic=required(data, "magic", int),
        parameters=required(data, "parameters", dict),
        worker=required(data, "worker", str),
        token_file=Path(required(data, "token_file", str)),
        epoch=required(data, "epoch", int),
        status_file=Path(required(data, "status_file", str)),
        log_file=Path(required(data, "log_file", str)),
        paper=data.get("paper") is True,
    )


def _timeframe(value: object) -> int:
    """A timeframe as its number or its name, with or without TIMEFRAME_."""
    names = CONSTANT_GROUPS["TIMEFRAME"]
    if isinstance(value, str):
        number = names.get(value) or names.get(f"TIMEFRAME_{value}")
        if number is not None:
            return number
    elif isinstance(value, int) and not isinstance(value, bool) and value in names.values():
        return value
    raise ConfigError(f"{value!r} is not a timeframe of MT5")


class BotReport:
    """Writes a bot's status file, atomically, and its log, one JSON object a line. Times are UTC."""

    def __init__(self, config: BotConfig) -> None:
        self._config = config
        self._last: tuple[Phase, str] | None = None

    def status(self, phase: Phase, detail: str = "") -> None:
        """Replace the status when it has changed."""
        if self._last == (phase, detail):
            return
        self._last = (phase, detail)
        content = {"phase": phase, "detail": detail, "at": _now(), "revision": self._config.revision}
        target = self._config.status_file
        draft = target.with_suffix(f"{target.suffix}.new")
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(target)

    def info(self, text: str) -> None:
        """Tell the user what the bot did."""
        self._log("info", text)

    def warning(self, text: str) -> None:
        """Tell the user what did not work this time."""
        self._log("warning", text)

    def error(self, text: str) -> None:
        """Tell the user why the bot cannot go on."""
        self._log("error", text)

    def _log(self, level: str, text: str) -> None:
        line = json.dumps({"at": _now(), "level": level, "text": text}, ensure_ascii=False)
        with self._config.log_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
