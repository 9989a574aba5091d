"""Looks for planted secrets wherever none may be."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from os import PathLike, fsdecode
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg2

from tests.canaries.marks import ENCODED, MADE, TYPED, found_in

_HOLDERS = frozenset({"keys", "secrets"})
"""Folders of secrets: nothing else is in there, and only their owner may look."""
_OWN_SECRETS = frozenset({".key", ".pem", ".token", ".url", ".ini"})
_OWN_NAMES = frozenset({"token", "worker.token", "admin.token"})
_MOST_BYTES = 64 * 2**20
"""Of a file; only recordings of markets are larger."""
_SHOWN_ONCE = frozenset({"POST", "PUT"})
"""Methods whose answer may show a secret that was made just then."""
_RECORDED_MAIL = "/api/v1/recorded-mails"

Argument = str | bytes | PathLike[str] | PathLike[bytes]


class Watch:
    """What was searched, and what was found: in words, without the secret itself."""

    def __init__(self) -> None:
        self.searched: Counter[str] = Counter()
        self.found: list[str] = []
        """Since somebody was told last."""
        self.leaked = 0
        """How often somebody was."""

    def text(self, where: str, content: bytes, *kinds: Mapping[bytes, str]) -> None:
        """Of a log, say. `where` names what is counted, and more behind a colon."""
        self.searched[where.partition(":")[0]] += 1
        self.found += [f"{secret} in {where}" for secret in sorted(found_in(content, *(kinds or (TYPED, MADE))))]

    def answer(self, response: httpx.Response) -> None:
        """Of a farm, to anybody: no error and nothing that can be read again shows a secret, and none a password."""
        method, path = response.request.method, response.request.url.path
        if not response.is_error and path == _RECORDED_MAIL:
            return
        once = response.is_success and method in _SHOWN_ONCE
        where = f"answers: {response.status_code} to {method} {path}"
        self.text(where, response.content, *((TYPED,) if once else (TYPED, MADE)))

    def process(self, arguments: Argument | Sequence[Argument], environment: Mapping[str, str] | None) -> None:
        given = [arguments] if isinstance(arguments, str | bytes | PathLike) else list(arguments)
        words = [fsdecode(each) for each in given]
        program = words[0].rpartition("/")[2] if words else ""
        self.text(f"processes: arguments of {program}", "\0".join(words).encode(errors="replace"))
        values = "\0".join(map(str, (environment or {}).values()))
        self.text(f"processes: environment of {program}", values.encode(errors="replace"))

    def children(self, pid: int) -> None:
        """All that a process has started, as everybody on the machine sees them."""
        for child in _descendants(pid):
            for name in ("cmdline", "environ"):
                try:
                    content = Path(f"/proc/{child}/{name}").read_bytes()
                except OSError:
                    continue  # it has ended meanwhile
                self.text(f"processes: {name} of a running one", content)

    def folder(self, root: Path) -> None:
        """Files that a test left: databases, backups, bundles, logs."""
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_BYTES:
                continue
            inside = path.relative_to(root)
            if not _keeps_secrets(inside):
                kinds = (TYPED,) if path.suffix == ".eml" else (TYPED, MADE)
                self.text(f"files: {inside}", _content(path), *kinds)

    def database(self, address: str) -> None:
        """Every row of a Postgres database, seen as its superuser."""
        with closing(psycopg2.connect(address)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            tables = [f'SELECT t::text FROM "{name}" AS t' for (name,) in cursor]
            rows: Iterable[tuple[str]] = ()
            if tables:
                cursor.execute(" UNION ALL ".join(tables))
                rows = cursor
            content = "\n".join(row for (row,) in rows).encode()
        self.text("databases: on Postgres", content, TYPED, MADE, ENCODED)


class RedisTap:
    """Everything that is said to a Redis, whether or not it keeps it."""

    def __init__(self, url: str, watch: Watch) -> None:
        address = urlsplit(url)
        self._watch = watch
        self._socket = socket.create_connection((address.hostname or "127.0.0.1", address.port or 6379))
        self._socket.sendall(b"MONITOR\r\n")
        self._rest = b""

    def look(self) -> None:
        self._socket.setblocking(False)
        said = self._rest
        try:
            while more := self._socket.recv(2**20):
                said += more
        except BlockingIOError:
            pass
        self._rest = said[-200:]
        self._watch.text("messages: to Redis", said, TYPED, MADE, ENCODED)

    def close(self) -> None:
        self._socket.close()


def _keeps_secrets(inside: Path) -> bool:
    by_name = inside.name in _OWN_NAMES or not _OWN_SECRETS.isdisjoint(inside.suffixes)
    return by_name or not _HOLDERS.isdisjoint(inside.parts)


def _content(path: Path) -> bytes:
    """A file's own bytes, or what is packed there: a tar holds files as they are. What was spoilt is taken as it is."""
    content = path.read_bytes()
    if path.suffix in {".gz", ".tgz"}:
        with suppress(OSError, EOFError, zlib.error):
            content = gzip.decompress(content)
    return content


def _descendants(pid: int) -> Iterator[int]:
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(each) for each in tasks.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from _descendants(child)
