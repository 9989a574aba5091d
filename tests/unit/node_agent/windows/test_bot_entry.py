"""The first program in a bot's room: each way out that is open is found, and only a plain refusal counts as closed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.windows import bot_entry
from node_agent.windows.bot_entry import HELD, NOT_HELD, openings


class Refusing:
    """Windows as it should be: everything is refused."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file: type[OSError] | None = PermissionError
        self.network: type[OSError] | None = PermissionError
        self.program: type[OSError] | None = PermissionError
        monkeypatch.setattr(bot_entry, "Path", lambda _: _Place(self))
        monkeypatch.setattr("node_agent.windows.bot_entry.socket.socket", lambda *_: _Sock(self))
        monkeypatch.setattr(
            "node_agent.windows.bot_entry.subprocess.Popen", lambda *_, **__: _Anything(self._answer(self.program))
        )

    def _answer(self, error: type[OSError] | None) -> _Anything:
        if error is not None:
            raise error("refused")
        return _Anything(None)

    def opened(self) -> _Anything:
        return self._answer(self.file)

    def connect(self) -> None:
        self._answer(self.network)


class _Anything:
    def __init__(self, _: object) -> None:
        pass

    def __enter__(self) -> _Anything:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None: ...
    def kill(self) -> None: ...


class _Place(_Anything):
    """A file or folder."""

    def __init__(self, system: Refusing) -> None:
        self._system = system

    def __truediv__(self, _: str) -> _Place:
        return self

    def open(self, _: str) -> _Anything:
        return self._system.opened()

    def unlink(self) -> None: ...


class _Sock(_Anything):
    def __init__(self, system: Refusing) -> None:
        self._system = system

    def __enter__(self) -> _Sock:
        return self

    def settimeout(self, _: float) -> None: ...
    def send(self, _: bytes) -> None: ...
    def connect(self, _: tuple[str, int]) -> None:
        self._system.connect()


START = {"closed": {"a secret": "/secret"}, "fixed": {"its code": "/code"}, "address": ["192.0.2.1", 9]}


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusing]:
    with monkeypatch.context() as patched:
        yield Refusing(patched)


def test_where_everything_is_refused_the_room_holds(system: Refusing) -> None:
    assert list(openings(START)) == []


@pytest.mark.parametrize(
    ("piece", "error", "told"),
    [
        ("file", None, {"a secret can be read", "its code can be written to"}),
        ("file", FileNotFoundError, {"whether a secret can be read cannot", "whether its code can be written to"}),
        ("network", None, {"reached by TCP", "reached by UDP"}),
        ("network", TimeoutError, {"not refused by TCP", "not refused by UDP"}),
        ("network", ConnectionRefusedError, {"not refused by TCP", "not refused by UDP"}),
        ("program", None, {"other programs can be started"}),
    ],
)
def test_one_open_way_is_found_and_no_other_error_passes_for_a_refusal(
    system: Refusing, piece: str, error: type[OSError] | None, told: set[str]
) -> None:
    setattr(system, piece, error)
    found = list(openings(START))
    assert len(found) == len(told)
    for words in told:
        assert any(words in each for each in found), found


def test_an_open_room_ends_before_the_bot_s_code_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "mine.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    start = json.dumps(START | {"closed": {"a secret": str(tmp_path / "secret")}, "fixed": {"it": str(tmp_path)}})
    command = [sys.executable, "-m", "node_agent.windows.bot_entry", start, "mine"]
    environment = {"PYTHONPATH": f"{Path(bot_entry.__file__).parents[2]}:{tmp_path}"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == NOT_HELD, ended.stderr
    assert "a secret can be read" in ended.stdout
    assert HELD not in ended.stdout
    assert not (tmp_path / "ran").exists()


def test_its_trials_of_the_network_go_to_nobody() -> None:
    """192.0.2.0/24 is for documentation (RFC 5737)."""
    from node_agent.windows.bot_sandbox import _NOBODY

    assert socket.inet_aton(_NOBODY[0])[:3] == bytes((192, 0, 2))
