"""Makes the canonical archive of a template: the same folder gives the same bytes, wherever it was installed.

A gzipped tar of plain files with sorted names and no owners or times. What belongs to the person who ran the folder
before (saved passwords, logs, charts' caches) is left out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import secrets
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, Protocol

from control_plane.releases.pe_version import NoVersionError, file_version

PROGRAM: Final = "terminal64.exe"
_LEFT_OUT: Final = re.compile(
    r"(?i)^(logs|temp|tester|crashes|liveupdate|bases|profiles/deleted|mql5/logs|config/certificates)/"
    r"|^config/(accounts\.dat|common\.ini|startup\.ini|terminal\.ini|community\.dat|dnsperf\.dat)$"
    r"|(^|/)(desktop\.ini|thumbs\.db|origin\.txt|\.ds_store)$|\.(log|tmp|lock)$"
)
_HISTORY: Final = re.compile(r"(?i)(?:^|/)bases/(?P<server>[^/]{1,64})/(?:history|ticks)/")
_NO_SERVERS: Final = frozenset({"default", "custom", "signals"})
_MOST_BYTES: Final = 4 * 1024**3
_COMPRESSION: Final = 6


class TemplateRefusedError(Exception):
    """What was given is no template. The message says what to do."""


@dataclass(frozen=True)
class Packed:
    """A template as it is stored and sent."""

    build: int
    sha256: str
    size: int
    files: int
    servers: tuple[str, ...] = ()
    """Trade servers that the terminal has been logged in to: it keeps the history of each in a folder of its name."""


class _Source(Protocol):
    def open(self) -> IO[bytes]: ...

    @property
    def size(self) -> int: ...


def pack(source: Path, target: Path) -> Packed:
    """Write the canonical archive of an installed portable folder, or of a zip or tar of one.

    Raises TemplateRefusedError, OSError.
    """
    if source.suffix.lower() == ".exe":
        raise TemplateRefusedError(
            f"{source.name} is an installer. Run it on a Windows machine or under Wine, start the terminal once with "
            "/portable, close it, and import that folder: an installer fetches whatever build is newest on that day."
        )
    with _files_of(source) as found:
        servers = _known_servers(found)
        files = _from_program_folder(found)
        build = _build(files[PROGRAM])
        if sum(each.size for each in files.values()) > _MOST_BYTES:
            raise TemplateRefusedError("The folder holds more than 4 GiB; import a freshly installed one.")
        with (
            target.open("wb") as file,
            gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=file, mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in sorted(files):
                member = tarfile.TarInfo(name)
                member.size, member.mode, member.mtime = files[name].size, 0o644, 0
                with files[name].open() as content:
                    tar.addfile(member, content)
    with target.open("rb") as packed:
        digest = hashlib.file_digest(packed, "sha256").hexdigest()
    return Packed(build, digest, target.stat().st_size, len(files), servers)


def _known_servers(found: Mapping[str, _Source]) -> tuple[str, ...]:
    """The list that the terminal itself keeps (`config/servers.dat`) is in a format that is not published."""
    names = {match["server"] for name in found if (match := _HISTORY.search(name))}
    return tuple(sorted(name for name in names if name.lower() not in _NO_SERVERS))


def _from_program_folder(found: Mapping[str, _Source]) -> dict[str, _Source]:
    """Names as they are below the folder that holds the program."""
    programs = sorted((name for name in found if PurePosixPath(name).name.lower() == PROGRAM), key=len)
    if not programs:
        raise TemplateRefusedError(f"There is no {PROGRAM} in it; give the installed portable folder of a terminal.")
    top = programs[0][: -len(PROGRAM)]
    below = {name.removeprefix(top): each for name, each in found.items() if name.startswith(top)}
    kept = {name: each for name, each in below.items() if not _LEFT_OUT.search(name)}
    # Windows calls it the same however it is written; nodes look for this name.
    return {PROGRAM if name.lower() == PROGRAM else name: each for name, each in kept.items()}


def _build(program: _Source) -> int:
    with program.open() as file:
        content = file.read()
    try:
        build = file_version(content)[3]
    except NoVersionError as error:
        raise TemplateRefusedError(f"{PROGRAM} says no version, so its build cannot be pinned.") from error
    if not build:
        raise TemplateRefusedError(f"{PROGRAM} says build 0, which is no build of MetaTrader 5.")
    return build


@dataclass(frozen=True)
class _OnDisk:
    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def open(self) -> IO[bytes]:
        return self.path.open("rb")


@dataclass(frozen=True)
class _Zipped:
    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    @property
    def size(self) -> int:
        return self.member.file_size

    def open(self) -> IO[bytes]:
        return self.archive.open(self.member)


@dataclass(frozen=True)
class _InTar:
    archive: tarfile.TarFile
    member: tarfile.TarInfo

    @property
    def size(self) -> int:
        return self.member.size

    def open(self) -> IO[bytes]:
        return self.archive.extractfile(self.member) or io.BytesIO()


@contextmanager
def _files_of(source: Path) -> Iterator[dict[str, _Source]]:
    """Plain files by name. Links are not followed."""
    if source.is_dir():
        paths = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
        yield {path.relative_to(source).as_posix(): _OnDisk(path) for path in paths}
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as zipped:
            members = [each for each in zipped.infolist() if not each.is_dir()]
            yield {each.filename.replace("\\", "/"): _Zipped(zipped, each) for each in members}
    elif source.is_file() and tarfile.is_tarfile(source):
        with tarfile.open(source) as tar:
            yield {each.name.removeprefix("./"): _InTar(tar, each) for each in tar.getmembers() if each.isreg()}
    else:
        raise TemplateRefusedError(f"{source} is neither a folder nor a zip or tar archive.")


def pack_into(source: Path, folder: Path) -> Packed:
    """Pack into a folder, as `archive_name` of the digest. Raises like `pack`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".import-{secrets.token_hex(8)}"
    try:
        packed = pack(source, draft)
        draft.replace(folder / archive_name(packed.sha256))
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return packed


def archive_name(sha256: str) -> str:
    return f"{sha256}.tar.gz"
