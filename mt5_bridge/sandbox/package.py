"""What a user brings as a strategy: a Python file, or a zip of some. Nothing of it is run or parsed here."""

from __future__ import annotations

import hashlib
import io
import stat
import unicodedata
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

MOST_UPLOADED: Final = 2 * 1024 * 1024
MOST_UNPACKED: Final = 3 * 1024 * 1024
MOST_FILES: Final = 100
_MOST_DEPTH: Final = 6
_MOST_NAME: Final = 120
_KINDS: Final = frozenset({".py", ".json", ".csv", ".txt", ".md", ".toml", ".ini"})
_ENTRIES: Final = ("main.py", "strategy.py")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class PackageError(Exception):
    """It cannot be taken. The message is one sentence that says what to do."""


@dataclass(frozen=True)
class Package:
    """Files by their names; `entry` is the one to run."""

    files: Mapping[str, bytes]
    entry: str

    def packed(self) -> bytes:
        """The same files give the same bytes."""
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(self.files.items()):
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content)
        return target.getvalue()


def digest(packed: bytes) -> str:
    """SHA-256 by which a package is known everywhere."""
    return hashlib.sha256(packed).hexdigest()


def read_upload(name: str, content: bytes) -> Package:
    """A file as it was uploaded. Raises PackageError."""
    if len(content) > MOST_UPLOADED:
        raise PackageError(f"The file is larger than {MOST_UPLOADED // 1024 // 1024} MB.")
    if content.startswith(b"PK"):
        files = _strip_folder(_read_zip(content))
        return Package(files, _entry_of(files))
    if not name.lower().endswith(".py"):
        raise PackageError("Upload a Python file (.py) or a zip of Python files.")
    _check_text("main.py", content)
    return Package({"main.py": content}, "main.py")


def unpack(packed: bytes, folder: Path) -> None:
    """Lay the files of a package out in a new folder, readable for all. Raises PackageError, OSError."""
    files = _read_zip(packed)
    folder.mkdir(mode=0o755)
    for name, content in files.items():
        target = folder / name
        for parent in reversed(target.relative_to(folder).parents):
            (folder / parent).mkdir(mode=0o755, exist_ok=True)
            (folder / parent).chmod(0o755)
        target.write_bytes(content)
        target.chmod(0o644)


def _read_zip(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = _read_entries(archive)
    except PackageError:
        raise
    except Exception as error:  # also the decompressors' own errors
        raise PackageError("The zip is damaged, or packed in a way that is not understood; pack it anew.") from error
    if not files:
        raise PackageError("The zip holds no files.")
    for name in files:
        if any(other != name and other.startswith(f"{name}/") for other in files):
            raise PackageError(f"The zip holds {name} both as a file and as a folder.")
    return files


def _read_entries(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_FILES:
        raise PackageError(f"The zip holds more than {MOST_FILES} files.")
    files: dict[str, bytes] = {}
    left = MOST_UNPACKED
    for entry in entries:
        name = _checked_name(entry)
        if any(name.casefold() == other.casefold() for other in files):
            raise PackageError(f"The zip holds {name} twice.")
        # The size in the zip's own list may be a lie; what is read is not.
        with archive.open(entry) as file:
            data = file.read(left + 1)
        left -= len(data)
        if left < 0:
            raise PackageError(f"The zip holds more than {MOST_UNPACKED // 1024 // 1024} MB when unpacked.")
        if name.endswith(".py"):
            _check_text(name, data)
        files[name] = data
    return files


def _checked_name(entry: zipfile.ZipInfo) -> str:
    name = entry.filename
    path = PurePosixPath(name)
    shown = ascii(name[:60])
    if stat.S_ISLNK(entry.external_attr >> 16) or entry.flag_bits & 0x1:
        raise PackageError(f"The zip holds a link or an encrypted file ({shown}); pack plain files.")
    if (
        not name.isprintable()
        or any(mark in name for mark in "\\:\0")
        or unicodedata.normalize("NFC", name) != name
        or path.is_absolute()
        or not path.parts
        or any(part in {"..", ".", ""} or part.startswith(".") for part in name.split("/"))
        or len(path.parts) > _MOST_DEPTH
        or len(name.encode()) > _MOST_NAME
    ):
        raise PackageError(f"The zip holds a file with a name that is not allowed: {shown}.")
    if path.suffix not in _KINDS:
        raise PackageError(f"The zip holds {shown}; allowed are {', '.join(sorted(_KINDS))}.")
    return name


def _strip_folder(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Without the one folder that everything is in, as file managers pack it."""
    tops = {name.split("/", 1)[0] for name in files}
    if len(tops) == 1 and all("/" in name for name in files):
        return {name.split("/", 1)[1]: content for name, content in files.items()}
    return dict(files)


def _entry_of(files: Mapping[str, bytes]) -> str:
    top = [name for name in files if "/" not in name and name.endswith(".py")]
    for name in _ENTRIES:
        if name in top:
            return name
    if len(top) == 1:
        return top[0]
    raise PackageError("Name the file of the zip that starts it main.py; there are several, or none.")


def _check_text(name: str, content: bytes) -> None:
    if b"\0" in content:
        raise PackageError(f"{name} is no text.")
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PackageError(f"{name} is not in UTF-8 (line {line}); save it in UTF-8.") from error
