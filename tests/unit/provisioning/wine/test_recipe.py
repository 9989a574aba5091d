"""The Wine recipe says in one sentence what is wrong, and never leaves half a folder."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from provisioning.wine import prefix, tools, windows_python
from provisioning.wine.__main__ import main
from provisioning.wine.tools import WineError, run


def test_a_failing_step_is_told_with_its_last_line() -> None:
    with pytest.raises(WineError, match=r"^Cooking failed: too hot$"):
        run("Cooking", [sys.executable, "-c", "import sys; sys.exit('first\\ntoo hot')"])
    with pytest.raises(WineError, match=r"^Cooking cannot start: No such file or directory\.$"):
        run("Cooking", ["/no/such/program"])
    with pytest.raises(WineError, match=r"^Cooking has not ended within 0 s\.$"):
        run("Cooking", [sys.executable, "-c", "input()"], seconds=0.01)


def test_a_step_gives_its_output() -> None:
    assert run("Cooking", [sys.executable, "-c", "import os; print(os.environ['A'])"], {"A": "1"}) == "1\n"


def test_files_of_this_machine_are_on_drive_z() -> None:
    assert prefix.windows_path(Path("/opt/mt5/terminal64.exe")) == r"Z:\opt\mt5\terminal64.exe"


def test_without_wine_it_names_the_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tools, "WINE64", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--into", str(tmp_path / "wine")]) == 2
    assert "apt-get install wine wine64" in capsys.readouterr().err
    assert not (tmp_path / "wine").exists()


def test_without_a_compiler_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WineError, match="mingw32-gcc is not installed"):
        windows_python.make_windows_python(tmp_path / "python", print)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text("numpy==1.26.4\n")  # no hash
    monkeypatch.setattr(windows_python, "REQUIREMENTS", pins)
    monkeypatch.setattr(windows_python, "program", Path)
    with pytest.raises(WineError, match="Downloading the Windows wheels failed"):
        windows_python.make_windows_python(tmp_path / "made" / "python", lambda sentence: None)
    assert list((tmp_path / "made").iterdir()) == []


def test_a_wheel_without_the_interpreter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WineError, match="name no panda3d"):
        windows_python._unpack_interpreter(tmp_path, _folder(tmp_path, "a"))
    with zipfile.ZipFile(tmp_path / "panda3d-1-cp311-cp311-win_amd64.whl", "w") as wheel:
        wheel.writestr("deploy_libs/_ssl.pyd", b"")
    with pytest.raises(WineError, match=r"holds no python3\d+\.dll"):
        windows_python._unpack_interpreter(tmp_path, _folder(tmp_path, "b"))
    assert (tmp_path / "b" / "DLLs" / "_ssl.pyd").exists()


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
