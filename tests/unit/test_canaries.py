"""A planted secret is found in each place where it would be a leak, and a test that lets one out fails."""

from __future__ import annotations

import base64
import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg2
import pytest

from control_plane.identity.totp import new_recovery_codes, new_secret
from control_plane.vault.sealing import new_key
from tests.canaries.watch import RedisTap, Watch
from tests.postgres import Server
from tests.redis_server import RedisServer, redis_executable, wait_until

PASSWORD = "broker-secret"
A_PASSWORD = ["a password"]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not one of those that are searched after this test."""
    with tempfile.TemporaryDirectory(prefix="m5", dir="/tmp") as made:
        yield Path(made)


def secrets_in(watch: Watch) -> list[str]:
    return [each.partition(" in ")[0] for each in watch.found]


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (new_key, "a key or a token"),
        (lambda: new_key().hex().encode(), "a key or a token"),
        (lambda: base64.b64encode(b"xy" + new_key()), "a key or a token"),
        (lambda: base64.urlsafe_b64encode(b"x" + new_key()), "a key or a token"),
        (lambda: new_secret().encode(), "the seed of an authenticator"),
        (lambda: "".join(new_recovery_codes()).encode(), "a recovery code"),
        (lambda: new_recovery_codes()[0].replace("-", "").encode(), "a recovery code"),
        (lambda: b"-----BEGIN PRIVATE KEY-----", "a private key"),
        (PASSWORD.encode, "a password"),
    ],
)
def test_what_the_farm_makes_is_known_however_it_is_written(watch: Watch, made: object, name: str) -> None:
    assert callable(made)
    watch.text("logs", b'{"event": "' + made() + b'"}')
    assert secrets_in(watch) == [name]
    assert PASSWORD not in watch.found[0]


def test_two_secrets_are_never_the_same() -> None:
    assert len({new_key() for _ in range(100)} | {new_secret() for _ in range(100)}) == 200


@pytest.mark.parametrize(
    ("method", "status", "path", "content", "found"),
    [
        ("POST", 422, "/api/v1/accounts", PASSWORD, True),
        ("POST", 201, "/api/v1/accounts", PASSWORD, True),
        ("GET", 200, "/api/v1/auth/api-keys", "made", True),
        ("POST", 409, "/api/v1/auth/api-keys", "made", True),
        ("POST", 201, "/api/v1/auth/api-keys", "made", False),
        ("GET", 200, "/api/v1/recorded-mails", "made", False),
    ],
)
def test_an_answer_shows_at_most_what_was_made_just_then(
    watch: Watch, method: str, status: int, path: str, content: str, found: bool
) -> None:
    body = new_key().hex() if content == "made" else content
    request = httpx.Request(method, f"http://farm{path}")
    watch.answer(httpx.Response(status, json={"detail": body}, request=request))
    assert bool(watch.found) is found


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("farm/farm.sqlite3-wal", True),
        ("backup/rows/accounts.copy.gz", True),
        ("bundles/req_1.tar.gz", True),
        ("farm/mail/mai_1.eml", True),
        ("farm/keys/master.key", False),
        ("farm/master.key.retired-1d3e", False),
    ],
)
def test_a_file_holds_none_but_where_they_are_kept(watch: Watch, folder: Path, name: str, found: bool) -> None:
    file = folder / name
    file.parent.mkdir(parents=True)
    content = f"1\t{PASSWORD}\n".encode()
    file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    watch.folder(folder)
    assert bool(watch.found) is found


def test_a_mail_may_hold_the_secret_of_its_link(watch: Watch, folder: Path) -> None:
    (folder / "mai_1.eml").write_bytes(base64.urlsafe_b64encode(new_key()))
    watch.folder(folder)
    assert watch.found == []


def test_what_everybody_sees_of_a_process(watch: Watch) -> None:
    watch.process(["mt5farm", "--password", PASSWORD], {})
    watch.process("mt5farm", {"PASSWORD": PASSWORD})
    assert secrets_in(watch) == A_PASSWORD * 2
    secret = base64.b64encode(new_key()).decode()
    # Not by way of what shows its arguments to the watch of this very run.
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", secret], {})
    wait_until(lambda: secret in Path(f"/proc/{child}/cmdline").read_text())
    fresh = Watch()
    fresh.children(os.getpid())
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert "a key or a token" in secrets_in(fresh)


def test_rows_on_postgres_are_searched_also_where_they_are_bytes(watch: Watch, postgres_server: Server) -> None:
    name = postgres_server.empty_database()
    address = postgres_server.url("postgres", name)
    with psycopg2.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE jobs (id int, payload bytea)")
        cursor.execute("INSERT INTO jobs VALUES (1, %s), (2, %s)", (PASSWORD.encode(), new_key()))
    connection.close()
    watch.database(address)
    assert secrets_in(watch) == ["a key or a token", "a password"]
    Server(postgres_server.superuser, postgres_server.numbers).drop(name)


def test_what_redis_was_told_is_searched_although_it_has_forgotten(watch: Watch, folder: Path) -> None:
    server = RedisServer(redis_executable(), folder)
    server.start()
    tap = RedisTap(server.url, watch)
    server.add_to_stream("mt5farm.changes", {"change": base64.b64encode(b'["' + PASSWORD.encode() + b'"]')})
    server.flush()

    def heard() -> bool:
        tap.look()
        return bool(watch.found)

    wait_until(heard)
    assert set(secrets_in(watch)) == set(A_PASSWORD)
    tap.close()
    server.stop()


def test_a_test_that_lets_a_secret_out_fails(folder: Path) -> None:
    (folder / "test_leak.py").write_text(f"def test_it():\n    print({PASSWORD!r})\n\ndef test_other():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.canaries.plugin", "-c", "/dev/null", "test_leak.py"]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "planted secrets got out: a password in logs: Captured stdout call" in ended.stdout
    assert "planted secrets: 1 found in" in ended.stdout
    assert "1 error" in ended.stdout or "1 failed" in ended.stdout
