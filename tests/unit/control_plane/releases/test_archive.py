"""One folder, one archive, whatever it came in; and nothing of whoever ran it."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from control_plane.releases.archive import Packed, TemplateRefusedError, pack, pack_into
from tests.unit.control_plane.releases.programs import program

FILES = {
    "terminal64.exe": program(),
    "metaeditor64.exe": b"editor",
    "config/servers.dat": b"servers",
    "MQL5/Experts/Sample.ex5": b"sample",
}
PRIVATE = {
    "config/accounts.dat": b"password",
    "Config/Common.ini": b"Login=1",
    "logs/20260101.log": b"log",
    "Bases/Broker/history.hcc": b"history",
    "MQL5/Logs/20260101.log": b"log",
    "liveupdate/terminal64.exe": b"newer",
}


def make(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def packed(source: Path, tmp_path: Path) -> tuple[Packed, dict[str, bytes]]:
    target = tmp_path / f"{source.name}.packed"
    done = pack(source, target)
    with tarfile.open(target) as tar:
        return done, {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def test_it_holds_the_program_and_nothing_private(tmp_path: Path) -> None:
    done, content = packed(make(tmp_path / "mt5", FILES | PRIVATE), tmp_path)
    assert content == FILES
    assert (done.build, done.files) == (5260, 4)
    assert list(content) == sorted(content)


def test_the_same_folder_gives_the_same_bytes_however_it_comes(tmp_path: Path) -> None:
    folder = make(tmp_path / "mt5", FILES)
    digest = packed(folder, tmp_path)[0].sha256
    os.utime(folder / "terminal64.exe", (1, 1))
    (folder / "terminal64.exe").chmod(0o700)
    again = make(tmp_path / "again", dict(reversed(FILES.items())) | PRIVATE)
    with zipfile.ZipFile(tmp_path / "mt5.zip", "w") as zipped:
        for name, content in FILES.items():
            zipped.writestr(f"MetaTrader 5/{name}", content)
    with tarfile.open(tmp_path / "mt5.tar.xz", "w:xz") as tar:
        tar.add(folder, arcname=".")
    for source in (folder, again, tmp_path / "mt5.zip", tmp_path / "mt5.tar.xz"):
        assert packed(source, tmp_path)[0].sha256 == digest, source.name


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder = make(tmp_path / "mt5", FILES)
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    assert "link" not in packed(folder, tmp_path)[1]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"readme.txt": b""}, "no terminal64.exe"),
        ({"terminal64.exe": b"MZ"}, "no version"),
        ({"terminal64.exe": program((5, 0, 0, 0))}, "build 0"),
    ],
)
def test_what_is_no_terminal_is_refused(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(TemplateRefusedError, match=says):
        pack_into(make(tmp_path / "mt5", files), tmp_path / "templates")
    assert list((tmp_path / "templates").iterdir()) == [], "and no half of it stays"


def test_an_installer_is_refused_with_what_to_do_instead(tmp_path: Path) -> None:
    setup = tmp_path / "mt5setup.exe"
    setup.write_bytes(program())
    with pytest.raises(TemplateRefusedError, match="/portable"):
        pack(setup, tmp_path / "target")
