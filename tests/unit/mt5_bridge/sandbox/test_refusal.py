"""Where there is no sandbox, code of users is refused, and its owner is told why and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mt5_bridge.sandbox import availability
from mt5_bridge.sandbox.availability import why_not
from mt5_bridge.sandbox.keeping import FAILED

LIKE_WINDOWS = """
import os, sys
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
for name in ("geteuid", "getuid", "fchown", "chown", "fork", "setsid"):
    delattr(os, name)
sys.platform = "win32"
from mt5_bridge.sandbox.keeper import main
sys.exit(main(["--config", sys.argv[1]]))
"""


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """What one test finds is not known to the next."""
    why_not.cache_clear()
    yield
    why_not.cache_clear()


def test_on_another_system_the_keeper_of_linux_fails_with_the_reason(tmp_path: Path) -> None:
    files = {name: str(tmp_path / name) for name in ("box", "bridge", "worker", "status_file", "log_file")}
    config = {"bot_id": "bot_1", "revision": 3, "arguments": [], "files": {}, **files}
    (tmp_path / "keeper.json").write_text(json.dumps(config))
    arguments = [sys.executable, "-c", LIKE_WINDOWS, str(tmp_path / "keeper.json")]
    ended = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == FAILED, ended.stderr
    status = json.loads((tmp_path / "status_file").read_text())
    assert (status["phase"], status["revision"]) == ("failed", 3)
    assert "Linux only" in status["detail"]
    assert status["detail"] in (tmp_path / "log_file").read_text()


@pytest.mark.parametrize(
    ("found", "answer", "words"),
    [
        (None, None, "install the package bubblewrap"),
        ("/usr/bin/bwrap", SimpleNamespace(returncode=1, stderr="bwrap: No permissions\n"), "user.max_user_namespaces"),
        ("/usr/bin/bwrap", OSError("no"), "cannot be tried here"),
        ("/usr/bin/bwrap", subprocess.TimeoutExpired("bwrap", 1), "cannot be tried here"),
    ],
)
def test_a_machine_or_container_that_permits_none_says_what_its_operator_can_do(
    monkeypatch: pytest.MonkeyPatch, found: str | None, answer: object, words: str
) -> None:
    def tried(*_: object, **__: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(availability, "known_machine", lambda: True)
    monkeypatch.setattr("mt5_bridge.sandbox.availability.shutil.which", lambda _: found)
    monkeypatch.setattr("mt5_bridge.sandbox.availability.subprocess.run", tried)
    reason = why_not()
    assert reason is not None
    assert words in reason


def test_an_unknown_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "known_machine", lambda: False)
    assert "x86-64 and ARM64" in str(why_not())
