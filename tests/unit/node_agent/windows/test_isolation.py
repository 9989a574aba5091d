"""Rights, names and the task of a terminal, as data."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path, PureWindowsPath

from hypothesis import given
from hypothesis import strategies as st

from node_agent.windows import isolation

AGENT, TERMINAL = "S-1-5-21-1-1-1-500", "S-1-5-21-1-1-1-1001"
ROOT = Path("/data/terminals/ter_0123456789abcdef")
_NS = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def allowed(sddl: str) -> dict[str, str]:
    """Who may do what; nothing is denied, nothing is inherited from above."""
    assert sddl.startswith("D:P(")
    return {who: what for what, who in re.findall(r"\(A;OICI;([^;]+);;;([^)]+)\)", sddl)}


def test_the_agent_s_folder_is_closed_to_everybody_else() -> None:
    assert allowed(isolation.private_rights(AGENT)) == {"SY": "FA", "BA": "FA", AGENT: "FA"}


def test_a_terminal_s_user_may_start_programs_and_not_write_them() -> None:
    granted = int(allowed(isolation.program_rights(AGENT, TERMINAL))[TERMINAL], 16)
    write_data, append, write_attributes, delete_child = 0x2, 0x4, 0x100, 0x40
    delete, change_rights, take_ownership, write_extended = 0x10000, 0x40000, 0x80000, 0x10
    forbidden = write_data | append | write_attributes | delete_child | delete | change_rights | take_ownership
    assert granted & (forbidden | write_extended) == 0
    execute, read = 0x20, 0x1
    assert granted & execute
    assert granted & read


def test_a_terminal_s_user_works_in_its_data_folders_and_cannot_give_rights_away() -> None:
    granted = int(allowed(isolation.shared_rights(AGENT, TERMINAL))[TERMINAL], 16)
    assert granted & 0x2
    assert granted & 0x10000
    assert granted & (0x40000 | 0x80000) == 0


def test_live_update_finds_closed_folders() -> None:
    assert TERMINAL not in allowed(isolation.closed_rights(AGENT))


def test_passwords_have_all_four_kinds_of_characters_and_never_repeat() -> None:
    made = {isolation.new_password() for _ in range(50)}
    assert len(made) == 50
    for password in made:
        assert all(re.search(kind, password) for kind in ("[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]"))


@given(st.lists(st.text("abcdef0123456789", min_size=16, max_size=16), min_size=2, max_size=20, unique=True))
def test_names_are_short_and_each_terminal_s_own(ids: list[str]) -> None:
    roots = [Path(f"/data/terminals/ter_{each}") for each in ids]
    users = {isolation.user_name(root) for root in roots}
    assert len(users) == len(roots)
    assert max(map(len, users)) <= 20
    jobs = {isolation.job_name(root, role) for root in roots for role in "tw"}
    assert len(jobs) == 2 * len(roots)


def test_the_same_terminal_of_two_data_folders_has_two_users() -> None:
    assert isolation.user_name(Path("/a/ter_1")) != isolation.user_name(Path("/b/ter_1"))


def test_the_task_runs_the_starter_when_told_to_and_never_otherwise() -> None:
    python, orders = Path(r"C:\Program Files\R&D\python.exe"), Path(r"C:\farm data\orders")
    text = isolation.task_definition("mt5f_0123", python, orders, Path(r"C:\farm data"))
    task = ET.fromstring(text.partition("\n")[2])

    def said(path: str) -> str | None:
        return task.findtext("/".join(_NS + part for part in path.split("/")))

    assert list(task.find(f"{_NS}Triggers") or ()) == []
    assert said("Principals/Principal/UserId") == "mt5f_0123"
    assert said("Principals/Principal/LogonType") == "InteractiveTokenOrPassword"
    assert said("Principals/Principal/RunLevel") == "LeastPrivilege"
    assert said("Settings/ExecutionTimeLimit") == "PT0S"
    assert said("Settings/MultipleInstancesPolicy") == "Parallel"
    assert said("Settings/AllowHardTerminate") == "false"
    assert PureWindowsPath(said("Actions/Exec/Command") or "") == PureWindowsPath(python)
    assert said("Actions/Exec/Arguments") == r'-m node_agent.windows.starter --orders "C:\farm data\orders"'
