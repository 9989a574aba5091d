"""Whether code of strangers can be run in the sandbox of Linux on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import lru_cache

from mt5_bridge.sandbox.seccomp import known_machine

_SECONDS = 10.0


class NoSandboxError(Exception):
    """Brought code cannot be run here at all. The message says why and what to do."""


@lru_cache(maxsize=1)
def why_not() -> str | None:
    """Why not, as a sentence that says what to do about it, or None. Looked up once in a process's life."""
    if sys.platform != "linux":
        return (
            "Custom code is looked at in a sandbox that is for Linux only; its operator can use a machine with Linux."
        )
    if not known_machine():
        return "Custom code runs in a sandbox, which this farm has for x86-64 and ARM64 processors only."
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        return "Custom code runs in a sandbox, which needs bubblewrap; its operator can install the package bubblewrap."
    try:
        tried = subprocess.run(  # noqa: S603 - a program of the system with fixed arguments
            [bubblewrap, *_rights(), "--unshare-pid", "--unshare-net", "--unshare-ipc", "--ro-bind", "/", "/",
             "--proc", "/proc", "--dev", "/dev", "true"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False, text=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"Custom code runs in a sandbox, which cannot be tried here ({type(error).__name__})."
    if tried.returncode == 0:
        return None
    said = tried.stderr.strip().splitlines()[-1:] or ["no reason given"]
    return (
        "Custom code runs in a sandbox, which this machine does not permit"
        f" ({said[0][:120]}); its operator can allow user namespaces (user.max_user_namespaces)."
    )


def _rights() -> list[str]:
    return [] if sys.platform == "win32" or os.geteuid() == 0 else ["--unshare-user", "--disable-userns"]
