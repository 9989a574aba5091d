"""What the agent asks of the starter in a terminal user's session, and what the starter answers: one JSON file each.

The folder belongs to both users, so nothing in an answer is believed that cannot be checked, and an order holds no
secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node_agent.windows.port import ProcessKey, Program

ORDER_SUFFIX: Final = ".order"
ANSWER_SUFFIX: Final = ".answer"
_LONGEST: Final = 16_384


@dataclass(frozen=True)
class Launch:
    """Start a program in a job."""

    program: Program
    job: str


@dataclass(frozen=True)
class Close:
    """Ask a process to close its windows."""

    process: ProcessKey


Order = Launch | Close


@dataclass(frozen=True)
class Answer:
    """What came of an order. `error` is safe to show."""

    process: ProcessKey | None = None
    windows: int = 0
    """How many windows were asked to close."""
    error: str = ""


def order_to_text(order: Order) -> str:
    """JSON."""
    if isinstance(order, Close):
        return json.dumps({"close": _key_to_data(order.process)})
    program = order.program
    return json.dumps(
        {
            "launch": {
                "command": list(program.command),
                "folder": str(program.folder),
                "output": None if program.output is None else str(program.output),
                "environment": dict(program.environment),
                "job": order.job,
            }
        }
    )


def order_from_text(text: str) -> Order:
    """Raises ValueError."""
    data = _object(text)
    try:
        if "close" in data:
            return Close(_key_from_data(data["close"]))
        asked = data["launch"]
        program = Program(
            command=tuple(str(part) for part in asked["command"]),
            folder=Path(asked["folder"]),
            output=None if asked["output"] is None else Path(asked["output"]),
            environment={str(name): str(value) for name, value in asked["environment"].items()},
        )
        return Launch(program, str(asked["job"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("that is no order") from error


def answer_to_text(answer: Answer) -> str:
    """JSON."""
    process = None if answer.process is None else _key_to_data(answer.process)
    return json.dumps({"process": process, "windows": answer.windows, "error": answer.error})


def answer_from_text(text: str) -> Answer:
    """Raises ValueError."""
    data = _object(text)
    try:
        process = None if data["process"] is None else _key_from_data(data["process"])
        return Answer(process, int(data["windows"]), str(data["error"])[:500])
    except (KeyError, TypeError) as error:
        raise ValueError("that is no answer") from error


def _key_to_data(key: ProcessKey) -> dict[str, int]:
    return {"pid": key.pid, "created": key.created}


def _key_from_data(data: Mapping[str, Any]) -> ProcessKey:
    return ProcessKey(int(data["pid"]), int(data["created"]))


def _object(text: str) -> dict[str, Any]:
    if len(text) > _LONGEST:
        raise ValueError("that is too long")
    try:
        data = json.loads(text)
    except RecursionError as error:
        raise ValueError("that is no JSON object") from error
    if not isinstance(data, dict):
        raise ValueError("that is no JSON object")  # noqa: TRY004 - the bytes are wrong, not our types
    return data
