"""The files between a bot and the agent that runs it: configuration in, status and log out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from mt5_bridge.addresses import parse_address
from mt5_bridge.contract import CONSTANT_GROUPS
from mt5_bridge.replacing import put_in_place
from mt5_bridge.sandbox.room import STANDARD_OUTPUT
from mt5_bridge.worker_config import ConfigError, load_object, required

MAX_STATE_BYTES: Final = 65_536


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
    state_file: Path
    """What a strategy keeps over restarts; beside the status unless the configuration says where."""
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
    status_file = Path(required(data, "status_file", str))
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
        status_file=status_file,
        log_file=Path(required(data, "log_file", str)),
        state_file=Path(data.get("state_file") or status_file.with_name("state.json")),
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
        replace_file(self._config.status_file, json.dumps(content))

    def info(self, text: str) -> None:
        """Tell the user what the bot did."""
        self._log("info", text)

    def fill(self, text: str, fill: Mapping[str, Any]) -> None:
        """Tell of an order that was filled on paper, in words and as plain values."""
        self._log("info", text, fill)

    def warning(self, text: str) -> None:
        """Tell the user what did not work this time."""
        self._log("warning", text)

    def error(self, text: str) -> None:
        """Tell the user why the bot cannot go on."""
        self._log("error", text)

    def _log(self, level: str, text: str, fill: Mapping[str, Any] | None = None) -> None:
        entry = {"at": _now(), "level": level, "text": text} | ({"fill": dict(fill)} if fill else {})
        line = json.dumps(entry, ensure_ascii=False)
        if str(self._config.log_file) == STANDARD_OUTPUT:
            # Not by sys.stdout, which the bot's own code may have replaced.
            os.write(1, f"{line}\n".encode(errors="replace"))
            return
        with self._config.log_file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@dataclass
class Memory:
    """What a bot knows of its own past, so that a restarted one goes on where it was."""

    revision: int
    last_bar: int = 0
    """Open time (s) of the newest bar that was acted on."""
    last_deal: int | None = None
    """Ticket of the newest own deal that the strategy was told of."""
    state: dict[str, Any] = field(default_factory=dict)


def load_memory(config: BotConfig) -> Memory:
    """What was kept of the same strategy on the same market; nothing when there is none.

    With a new revision the strategy's own state stays, and the newest bar is acted on anew. Raises ConfigError.
    """
    if not config.state_file.exists():
        return Memory(config.revision)
    data = load_object(config.state_file)
    if data.get("of") != _identity(config):
        return Memory(config.revision)
    memory = Memory(config.revision, 0, data.get("last_deal"), required(data, "state", dict))
    if data.get("revision") == config.revision:
        memory.last_bar = required(data, "last_bar", int)
    return memory


def save_memory(config: BotConfig, memory: Memory) -> None:
    """Write it down whole or not at all. Raises ConfigError for a state that is not small and plain, OSError."""
    try:
        text = json.dumps({"of": _identity(config), **asdict(memory)}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the strategy's state is not plain JSON: {error}") from error
    if len(text) > MAX_STATE_BYTES:
        raise ConfigError(f"the strategy's state has {len(text)} bytes; at most {MAX_STATE_BYTES} are kept")
    replace_file(config.state_file, text)


def _identity(config: BotConfig) -> list[Any]:
    return [config.strategy, config.symbol, config.timeframe, config.magic]


def replace_file(target: Path, text: str) -> None:
    """Write a file so that readers see the old or the new one whole. Raises OSError."""
    draft = target.with_suffix(f"{target.suffix}.new")
    draft.write_text(text, encoding="utf-8")
    put_in_place(draft, target)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
