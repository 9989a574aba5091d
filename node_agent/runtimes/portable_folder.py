"""The portable folder of a real terminal: a copy of its template, known by the digests of its programs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Final

from node_agent.files import write_atomically
from node_agent.protocol.messages import Reason
from node_agent.protocol.sealing import Credentials
from node_agent.runtimes.base import LaunchError

PROGRAM: Final = "terminal64.exe"
_DIGESTS: Final = "programs.json"
_CHUNK: Final = 1 << 20


def startup_ini(credentials: Credentials) -> bytes:
    """MT5's start-up file: the login, and Algo Trading on from the first moment.

    Raises LaunchError for what cannot stand in a line of it.
    """
    texts = (credentials.password, credentials.server)
    if any(character in text for text in texts for character in "\r\n\0"):
        raise LaunchError(Reason.BAD_CREDENTIALS, "The password contains a character that MT5 cannot take.")
    lines = (
        "[Common]",
        f"Login={credentials.login}",
        f"Password={credentials.password}",
        f"Server={credentials.server}",
        "NewsEnable=0",
        "[Experts]",
        "AllowLiveTrading=1",
        "AllowDllImport=0",
        "Enabled=1",
        # Not switched off by a change of account or profile, which a login at start may look like.
        "Account=0",
        "Profile=0",
        "",
    )
    text = "\r\n".join(lines)
    # Windows reads ini files in its own code page, which is not known here, or in UTF-16 with its mark.
    return text.encode("ascii") if text.isascii() else text.encode("utf-16")


def copy_template(template: Path, folder: Path) -> None:
    """Copy a template to a folder that has no terminal yet; an attempt cut short is begun anew. Raises OSError.

    Copied and not linked: a file's rights are its own, and each terminal's user has rights to its own copy only.
    """
    draft = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(template, draft)
    digests = {path.name: _digest(path) for path in sorted(draft.glob("*.exe"))}
    write_atomically(folder.with_name(_DIGESTS), json.dumps(digests).encode())
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)


def check_programs(folder: Path) -> None:
    """Raises LaunchError when a program in the folder is not the template's: then the build is not the pinned one."""
    try:
        digests = json.loads(folder.with_name(_DIGESTS).read_bytes())
        changed = [name for name, digest in digests.items() if _digest(folder / name) != digest]
    except (OSError, ValueError) as error:
        raise LaunchError(Reason.TEMPLATE_BROKEN, "The terminal's programs cannot be checked.") from error
    if changed:
        raise LaunchError(Reason.LIVE_UPDATE, f"{changed[0]} is not the build that is pinned; destroy the terminal.")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
