"""An archive is unpacked into its folder, or not at all."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from node_agent.terminal.unpack import ArchiveError, checked_name, unpack


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    made.seek(0)
    return made


def file(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def special(kind: bytes, name: str = "odd", target: str = "/etc/passwd") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def test_files_and_folders_arrive_readable_for_other_users(tmp_path: Path) -> None:
    program = tarfile.TarInfo("terminal64.exe")
    program.mode = 0o4000
    closed = os.umask(0o077)
    try:
        unpack(archive((program, b"MZ"), file("MQL5/Experts/a.ex5", b"a")), tmp_path)
    finally:
        os.umask(closed)
    assert (tmp_path / "MQL5" / "Experts" / "a.ex5").read_bytes() == b"a"
    assert stat.S_IMODE((tmp_path / "terminal64.exe").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "name",
    [
        "/etc/cron.d/x",
        "../x",
        "a/../../x",
        "a\\..\\x",
        "C:x",
        "C:\\x",
        "con.",
        "a /x",
        "a\nb",
        "a\0b",
        "x" * 500,
        "",
        ".",
        "what?",
    ],
)
def test_names_that_lead_elsewhere_or_are_none_on_windows_are_refused(name: str) -> None:
    with pytest.raises(ArchiveError):
        checked_name(name)


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(ArchiveError):
        unpack(archive(file(name)), inside)
    assert list(tmp_path.iterdir()) == [inside]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(ArchiveError):
        unpack(archive(file("a"), special(kind)), tmp_path)


def test_more_than_expected_is_refused_before_it_fills_the_disk(tmp_path: Path) -> None:
    bomb = archive(file("big", bytes(10_000_000)))
    assert len(bomb.getvalue()) < 20_000
    with pytest.raises(ArchiveError, match="more than"):
        unpack(bomb, tmp_path, most_bytes=1_000_000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ArchiveError, match="more than"):
        unpack(archive(*(file(str(n)) for n in range(11))), tmp_path, most_files=10)


def test_one_name_in_two_spellings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="twice"):
        unpack(archive(file("Config/a"), file("config/A")), tmp_path)


@pytest.mark.parametrize("cut", [0, 1, 30, 60])
def test_a_damaged_one_says_so(tmp_path: Path, cut: int) -> None:
    whole = archive(file("a", b"content" * 50)).getvalue()
    with pytest.raises(ArchiveError):
        unpack(io.BytesIO(whole[:cut] + b"?" + whole[cut : cut + 40]), tmp_path)
