"""Whatever keeps files keeps the same contract: a folder, or a bucket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from control_plane.errors import ConfigurationError
from control_plane.storage.bucket import BucketFiles
from control_plane.storage.local import LocalFiles
from control_plane.storage.port import Files
from control_plane.terminals.bundles import Bundles
from tests.deployments import EMBEDDED

pytestmark = pytest.mark.both_databases


@pytest.fixture
def files(deployment_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if deployment_kind == EMBEDDED:
        return LocalFiles(tmp_path / "files")
    url, endpoint = request.getfixturevalue("bucket_url")
    return BucketFiles.open(url, endpoint)


@pytest.mark.parametrize("content", [b"", b"text", bytes(range(256)) * 40_000])
def test_what_is_put_is_read(files: Files, content: bytes) -> None:
    files.put("bundles/one.tar.gz", content)
    assert files.read("bundles/one.tar.gz") == content


def test_the_same_name_again_replaces(files: Files) -> None:
    files.put("a/x", b"first, and longer")
    files.put("a/x", b"second")
    assert (files.read("a/x"), files.names("a")) == (b"second", ["a/x"])


def test_names_are_those_of_one_folder_in_order(files: Files) -> None:
    for name in ("a/2", "a/1", "b/3", "ab/4"):
        files.put(name, b"x")
    assert files.names("a") == ["a/1", "a/2"]
    assert files.names("nothing") == []


def test_what_is_not_there(files: Files) -> None:
    for ask in (files.read, files.modified):
        with pytest.raises(FileNotFoundError):
            ask("a/x")
    files.delete("a/x")


def test_what_is_deleted_is_gone(files: Files) -> None:
    files.put("a/x", b"x")
    files.delete("a/x")
    files.delete("a/x")
    assert files.names("a") == []
    with pytest.raises(FileNotFoundError):
        files.read("a/x")


def test_it_is_known_when_a_file_was_put(files: Files) -> None:
    files.put("a/x", b"x")
    assert abs(files.modified("a/x") - datetime.now(UTC)) < timedelta(minutes=5)


def test_old_bundles_are_deleted_and_others_kept(files: Files) -> None:
    bundles = Bundles(files)
    bundles.put("req_1", b"logs")
    bundles.delete_older(datetime.now(UTC) - timedelta(days=1))
    assert bundles.get("req_1") == b"logs"
    bundles.delete_older(datetime.now(UTC) + timedelta(days=1))
    assert bundles.get("req_1") is None


def test_a_folder_shows_no_half_written_file_and_is_closed_to_others(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path / "files")
    files.put("a/x", b"x")
    (tmp_path / "files" / "a" / ".x.1.2").write_bytes(b"half")
    assert files.names("a") == ["a/x"]
    assert (tmp_path / "files" / "a" / "x").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "files" / "a").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("url", ["gs://bucket", "s3://", "/a/folder"])
def test_a_bucket_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="s3://"):
        BucketFiles.open(url, None)
