"""A file that others are reading is replaced as soon as they let go of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mt5_bridge import replacing

REAL = Path.replace


def refuse(monkeypatch: pytest.MonkeyPatch, times: int) -> list[Path]:
    """What Windows says while somebody reads the target; the calls."""
    calls: list[Path] = []

    def replace(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) <= times:
            raise PermissionError(13, "in use")
        return REAL(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(replacing, "_SECONDS", 0.0)
    return calls


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    draft, target = tmp_path / "draft", tmp_path / "target"
    draft.write_text("new")
    target.write_text("old")
    return draft, target


def test_windows_is_asked_again(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    calls = refuse(monkeypatch, 3)
    replacing.put_in_place(*files)
    assert (files[1].read_text(), files[0].exists(), len(calls)) == ("new", False, 4)


def test_what_is_never_let_go_is_an_error_and_stays(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    refuse(monkeypatch, 10_000)
    with pytest.raises(PermissionError):
        replacing.put_in_place(*files)
    assert (files[1].read_text(), files[0].read_text()) == ("old", "new")


def test_elsewhere_a_refusal_has_another_reason(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    calls = refuse(monkeypatch, 1)
    with pytest.raises(PermissionError):
        replacing.put_in_place(*files)
    assert len(calls) == 1
