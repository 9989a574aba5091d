"""Who may do what with the files and the job of one terminal: names, rights and the scheduled task, as plain data.

Rights are SDDL: `A` allows; `OICI` hands a right down to files and folders below; `FA` is everything, 0x1200a9 reading
and starting, 0x1301bf all but changing rights and owner. Three parties are always there: SYSTEM, the administrators,
and the agent's own user.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path, PureWindowsPath
from typing import Final
from xml.sax.saxutils import escape

GROUP: Final = "mt5farm-terminals"
"""Local group of all terminals' users; a node's day 0 gives it the right to be started by a task, and no others."""
TASK_FOLDER: Final = "\\mt5farm"
UPDATE_FOLDERS: Final = ("liveupdate", "WebInstall")
"""Where LiveUpdate puts a newer build. They are there, and the terminal cannot write to them."""

_EVERYTHING: Final = "FA"
_READ_AND_START: Final = "0x1200a9"
_CHANGE: Final = "0x1301bf"
_PASSWORD_BYTES: Final = 24
_DIGEST: Final = 12


def short_name(root: Path) -> str:
    """Of a terminal on this machine: two agents, or two data folders, never meet."""
    return hashlib.sha256(str(root).casefold().encode()).hexdigest()[:_DIGEST]


def user_name(root: Path) -> str:
    """Local user of a terminal; Windows allows 20 characters."""
    return f"mt5f_{short_name(root)}"


def new_password() -> str:
    """Random, and of the four kinds of characters that password policies ask for."""
    return f"{secrets.token_urlsafe(_PASSWORD_BYTES)}aA1!"


def job_name(root: Path, role: str) -> str:
    """Known in all sessions."""
    return f"Global\\mt5farm-{short_name(root)}-{role}"


def task_path(root: Path) -> str:
    """Of the scheduled task that starts programs as the terminal's user."""
    return f"{TASK_FOLDER}\\{short_name(root)}"


def private_rights(owner: str) -> str:
    """Of the agent's data folder: nobody else reads it. `owner` is the SID of the agent's user."""
    return f"D:P{_everybody(owner)}"


def shared_rights(owner: str, user: str) -> str:
    """Of a terminal's folder of the agent and of the data folders in it: the terminal's user works there, too."""
    return f"D:P{_everybody(owner)}(A;OICI;{_CHANGE};;;{user})"


def program_rights(owner: str, user: str) -> str:
    """Of the terminal's programs: its user starts them and cannot replace, add or remove any; no update can either."""
    return f"D:P{_everybody(owner)}(A;OICI;{_READ_AND_START};;;{user})"


def closed_rights(owner: str) -> str:
    """Of folders that LiveUpdate writes to: the terminal's user cannot even look."""
    return private_rights(owner)


def _everybody(owner: str) -> str:
    return "".join(f"(A;OICI;{_EVERYTHING};;;{sid})" for sid in ("SY", "BA", owner))


def task_definition(user: str, python: Path, orders: Path, folder: Path) -> str:
    """Task Scheduler XML: when told to, start the starter as this user, in the user's session if there is one.

    No trigger, no time limit, no conditions: the agent alone says when. It holds no secret: the password is given to
    the scheduler in memory.
    """
    arguments = f'-m node_agent.windows.starter --orders "{PureWindowsPath(orders)}"'
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>Starts one terminal of the MT5 farm</Description></RegistrationInfo>
  <Triggers/>
  <Principals>
    <Principal id="Author">
      <UserId>{escape(user)}</UserId>
      <LogonType>InteractiveTokenOrPassword</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>Parallel</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>false</AllowHardTerminate>
    <StartWhenAvailable>false</StartWhenAvailable>
    <RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>
    <IdleSettings><StopOnIdleEnd>false</StopOnIdleEnd><RestartOnIdle>false</RestartOnIdle></IdleSettings>
    <AllowStartOnDemand>true</AllowStartOnDemand>
    <Enabled>true</Enabled>
    <Hidden>false</Hidden>
    <RunOnlyIfIdle>false</RunOnlyIfIdle>
    <WakeToRun>false</WakeToRun>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>5</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(str(PureWindowsPath(python)))}</Command>
      <Arguments>{escape(arguments)}</Arguments>
      <WorkingDirectory>{escape(str(PureWindowsPath(folder)))}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>
"""
