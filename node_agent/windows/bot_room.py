"""What one bot of a user may do on this machine: names, rights, limits and environment, as plain data.

Rights are SDDL, as in `isolation`. `OW` stands for whoever owns a file: a user could otherwise give any rights to, and
take them from, what it has made itself, and so hide it from those who count its size.
"""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import Final

from mt5_bridge.sandbox.limits import Limits
from node_agent.windows import isolation
from node_agent.windows.port import JobLimits

GROUP: Final = "mt5farm-bots"
"""Local group of all bots' users; a node's day 0 gives it the right to be started as a batch job, and no others."""
RULE: Final = "MT5 Farm bots"
"""Name of the firewall's rules for that group."""
_OWNERS_MAY_LOOK: Final = "(A;OICI;RC;;;OW)"


def user_name(room: Path) -> str:
    """Local user of a bot; it is there only while the bot runs."""
    return f"mt5b_{isolation.short_name(room)}"


def job_name(room: Path) -> str:
    return isolation.job_name(room, "b")


def box_rights(owner: str, user: str) -> str:
    """Of the only folder that the bot may write to."""
    return isolation.shared_rights(owner, user) + _OWNERS_MAY_LOOK


def shown_rights(owner: str, user: str) -> str:
    """Of its code, and of its configuration and token."""
    return isolation.program_rights(owner, user)


def farm_rights(owner: str) -> str:
    """Of the folder that keepers write logs and reports to: the terminal's user, whose folder is around it, has none,
    even if it was there first.
    """
    return isolation.private_rights(owner) + _OWNERS_MAY_LOOK


def job_limits(limits: Limits, cores: int, processes: int, *, slowed: bool) -> JobLimits:
    """Of the bot's job: one core of the machine's, and its long-run share of it once its savings are used up."""
    cpu = limits.cpu_share if slowed else 1.0
    return JobLimits(limits.memory, 100.0 * cpu / cores, processes, confined=True)


def processes_of_python(prefix: str, base_prefix: str) -> int:
    """How many processes one Python is: in a virtual environment `python.exe` starts the real one."""
    return 1 if prefix == base_prefix else 2


def environment(windows: str, box: Path, library: Path) -> dict[str, str]:
    """All that the bot has; `library` is the folder of `mt5_bridge`. Temporary files count as its own."""
    home = str(box)
    return {
        "SystemRoot": windows,
        "windir": windows,
        "PATH": str(PureWindowsPath(windows) / "System32"),
        **dict.fromkeys(("TEMP", "TMP", "USERPROFILE", "APPDATA", "LOCALAPPDATA"), home),
        "PYTHONPATH": str(library),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
