"""What one sandbox sees of the machine, as the command line of bubblewrap. Of the system it reads some paths only."""

from __future__ import annotations

import json
import site
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import mt5_bridge
from mt5_bridge.sandbox.limits import Limits

BOX: Final = "/bot"
"""The only place that keeps what is written to it."""
CODE: Final = "/code"
PRIVATE: Final = "/run/bot"
"""Configuration, token and the way to the bridge, all read-only."""
BRIDGE: Final = f"{PRIVATE}/bridge"
STANDARD_OUTPUT: Final = "-"
"""As a log file: a bot in a sandbox tells its keeper."""
_LIBRARIES: Final = "/farm"
_FIRST_UID: Final = 1_000_000_000
_SYSTEM: Final = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64")
_SETTINGS: Final = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo")
_SHARED_MEMORY: Final = 4 * 1024 * 1024


@dataclass(frozen=True)
class Room:
    """One sandbox. `arguments` is what its Python runs as `-m`; paths in them are those inside."""

    name: str
    """Whose it is; the user id of its processes follows from it where the node's agent is root."""
    box: Path
    arguments: Sequence[str]
    limits: Limits
    code: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    """Further files by their name under `PRIVATE`."""


def user_id(name: str) -> int:
    """A user of its own for each sandbox, far from any that a machine has."""
    return _FIRST_UID + zlib.crc32(name.encode()) % 1_000_000_000


def command(room: Room, *, root: bool, seccomp: int, bubblewrap: str) -> list[str]:
    """`seccomp` is the descriptor that the filter can be read from.

    An agent that is root cannot give its rights up by a user namespace, which maps one user only: there the first
    program inside changes to `user_id` before it does anything else.
    """
    line = [bubblewrap, "--die-with-parent", "--new-session", "--unshare-ipc", "--unshare-pid", "--unshare-net"]
    line += ["--unshare-uts", "--unshare-cgroup-try", "--hostname", "bot", "--clearenv"]
    if root:
        line += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        line += ["--unshare-user", "--disable-userns", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    # Before anything that may lie below it, as a Python does in a farm that is tried out there.
    line += ["--size", str(room.limits.temporary), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108 - its own
    for parent in _parents([*_SETTINGS, *_python(), *_system_folders(), f"{PRIVATE}/any", f"{_LIBRARIES}/any"]):
        line += ["--perms", "0755", "--dir", parent]
    for system in _system_folders():
        line += ["--symlink", str(Path(system).readlink()), system] if Path(system).is_symlink() else _shown(system)
    for shown in (*_SETTINGS, *_python()):
        line += _shown(shown)
    line += ["--ro-bind", str(Path(mt5_bridge.__path__[0])), f"{_LIBRARIES}/mt5_bridge"]
    line += ["--proc", "/proc", "--dev", "/dev", "--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm"]  # noqa: S108 - its own
    line += ["--bind", str(room.box), BOX]
    if room.code is not None:
        line += ["--ro-bind", str(room.code), CODE]
    for name, path in sorted(room.files.items()):
        line += ["--ro-bind", str(path), f"{PRIVATE}/{name}"]
    line += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", BOX, "--seccomp", str(seccomp)]
    for name, value in _environment().items():
        line += ["--setenv", name, value]
    start = {"limits": asdict(room.limits), "uid": user_id(room.name) if root else None}
    return [*line, sys.executable, "-m", "mt5_bridge.sandbox.enter", json.dumps(start), *room.arguments]


def _environment() -> dict[str, str]:
    return {
        "HOME": BOX,
        "TMPDIR": "/tmp",  # noqa: S108 - its own
        "PATH": "/nowhere",
        "LANG": "C.UTF-8",
        "PYTHONPATH": _LIBRARIES,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _system_folders() -> list[str]:
    return [folder for folder in _SYSTEM if Path(folder).exists()]


def _python() -> list[str]:
    """The interpreter and its libraries, wherever they are, and nothing beside them."""
    executable = Path(sys.executable)
    places = [executable, executable.resolve(), Path(sys.prefix, "pyvenv.cfg")]
    places += [Path(sys.base_prefix, "lib")] if sys.base_prefix != "/usr" else []
    places += [Path(folder) for folder in site.getsitepackages()]
    # The virtual environment's `python` is a chain of links; each has to be there.
    link = executable
    while link.is_symlink():
        link = link.parent / link.readlink()
        places.append(link)
    inside = [path for path in dict.fromkeys(places) if path.exists()]
    return [str(path) for path in inside if not any(str(path).startswith(f"{each}/") for each in _SYSTEM)]


def _parents(paths: Sequence[str]) -> list[str]:
    """Folders on the way to them, the outer ones first; bubblewrap would make them for their owner alone."""
    return sorted({str(parent) for path in paths for parent in Path(path).parents if len(parent.parts) > 1})


def _shown(path: str) -> list[str]:
    return ["--ro-bind-try", path, path]
