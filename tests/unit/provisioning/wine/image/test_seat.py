"""The seat of a terminal: a prefix of its own on the image's Windows, and only with the tested parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisioning.wine.image.build import image_name
from provisioning.wine.image.seat import places, tested
from provisioning.wine.image.seat.prefix import own_prefix
from provisioning.wine.image.seat.terminal import _killed_for_memory


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The image's prefix, as Wine makes it."""
    made = tmp_path / "template"
    (made / "drive_c" / "windows" / "system32").mkdir(parents=True)
    (made / "drive_c" / "users" / "mt5").mkdir(parents=True)
    (made / "drive_c" / "users" / "mt5" / "Documents").symlink_to("/nowhere")
    (made / "drive_c" / "ProgramData").mkdir()
    for name in ("system.reg", "user.reg", ".update-timestamp"):
        (made / name).write_text(name)
    manifest = tmp_path / "tested.json"
    manifest.write_text("{}")
    monkeypatch.setattr(places, "TESTED", manifest)
    return made


def test_a_terminals_prefix_is_its_own_but_for_windows_itself(template: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    own_prefix(prefix, template)
    assert (prefix / "drive_c" / "windows").readlink() == template / "drive_c" / "windows"
    assert not (prefix / "drive_c" / "users").is_symlink()
    (prefix / "system.reg").write_text("changed")
    assert (template / "system.reg").read_text() == "system.reg", "a registry is never shared"
    own_prefix(prefix, template)
    assert (prefix / "system.reg").read_text() == "changed", "and it lasts"


def test_one_of_another_image_is_made_anew(template: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    own_prefix(prefix, template)
    (prefix / "system.reg").write_text("of an older Wine")
    places.TESTED.write_text('{"wine": "9"}')
    own_prefix(prefix, template)
    assert (prefix / "system.reg").read_text() == "system.reg"


def test_other_parts_than_the_tested_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "tested.json"
    manifest.write_text(json.dumps({"wine": "8.0~repack-4", "MetaTrader5": "5.0.6231", "rpyc": "6.0.2"}))
    status = tmp_path / "status"
    status.write_text(
        "Package: wine64\nStatus: install ok installed\nDescription: x\n more: y\nVersion: 8.0~repack-4\n\n"
        "Package: wine\nStatus: deinstall ok config-files\nVersion: 9\n"
    )
    packages = tmp_path / "python" / "Lib" / "site-packages"
    (packages / "metatrader5-5.0.9999.dist-info").mkdir(parents=True)
    monkeypatch.setattr(places, "TESTED", manifest)
    monkeypatch.setattr(places, "WINDOWS_PYTHON", tmp_path / "python")
    monkeypatch.setattr(places, "PACKAGES", tmp_path / "none")
    monkeypatch.setattr(tested, "_DPKG", status)
    assert tested.differences() == [
        "MetaTrader5 is 5.0.9999 instead of 5.0.6231",
        "rpyc is missing instead of 6.0.2",
    ]


@pytest.mark.parametrize(
    ("counters", "killed"), [("low 0\noom_kill 0\n", False), ("oom_kill_disable 0\noom_kill 2\n", True)]
)
def test_the_kernels_own_count_tells_whether_memory_ended_something(
    counters: str, killed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "events").write_text(counters)
    monkeypatch.setattr(
        "provisioning.wine.image.seat.terminal._KILL_COUNTERS", (tmp_path / "absent", tmp_path / "events")
    )
    assert _killed_for_memory() is killed


def test_the_image_is_named_after_what_is_in_it() -> None:
    name, _, tag = image_name().partition(":")
    assert (name, len(tag)) == ("mt5farm/terminal", 16)
    assert image_name() == image_name()
