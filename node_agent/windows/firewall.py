"""Windows' firewall through its COM interface (netfw.h), as far as bots of users need it: no network for a group."""

from __future__ import annotations

import ctypes
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from node_agent.windows.api import ERROR_FILE_NOT_FOUND
from node_agent.windows.com import Object, created, initialized, text
from node_agent.windows.port import WindowsCallError

_POLICY: Final = uuid.UUID("e2b3c97f-6ae1-41ac-817a-f6f92166d7dd")
_POLICY_INTERFACE: Final = uuid.UUID("98325047-c671-4174-8d81-defcd3f03186")
_RULE: Final = uuid.UUID("2c5bc43e-3369-4c33-ab0c-be9469677af4")
_RULE_INTERFACE: Final = uuid.UUID("b21563ff-d696-4222-ab46-4e89b73ab34a")
"""INetFwRule3, of Windows 8 and Windows Server 2012: the first that knows users."""
_NOT_FOUND: Final = 0x80070000 | ERROR_FILE_NOT_FOUND
_PROFILES: Final = (1, 2, 4)
"""Domain, private, public; a machine on several networks has several in use."""
_ALL_PROFILES: Final = 0x7FFFFFFF
_ANY_PROTOCOL: Final = 256
_IN, _OUT = 1, 2
_BLOCK: Final = 0
_TRUE: Final = -1
_RULES_COUNT: Final = 0
"""NET_FW_MODIFY_STATE_OK: no group policy overrides what is set on this machine."""
_ALL_INBOUND_BLOCKED: Final = 2

# Places in the tables of INetFwPolicy2, INetFwRules and INetFwRule3; all derive from IDispatch, which has seven.
_PROFILES_IN_USE, _ENABLED, _RULES, _MODIFY_STATE = 7, 8, 18, 28
_ADD, _REMOVE, _ITEM = 8, 9, 10
_PUT_NAME, _PUT_DESCRIPTION, _PROTOCOL, _PUT_PROTOCOL = 8, 10, 15, 16
_DIRECTION, _PUT_DIRECTION, _RULE_ENABLED, _PUT_RULE_ENABLED = 27, 28, 33, 34
_RULE_PROFILES, _PUT_RULE_PROFILES, _ACTION, _PUT_ACTION = 37, 38, 41, 42
_USERS, _PUT_USERS = 49, 50


@contextmanager
def _policy() -> Iterator[Object]:
    with initialized(), created("NetFwPolicy2", _POLICY, _POLICY_INTERFACE) as policy:
        yield policy


def is_on() -> bool:
    """For all networks that this machine is on, and with rules that are made here. Raises WindowsCallError."""
    with _policy() as policy:
        state = policy.number("INetFwPolicy2.LocalPolicyModifyState", _MODIFY_STATE, ctypes.c_int)
        used = policy.number("INetFwPolicy2.CurrentProfileTypes", _PROFILES_IN_USE, ctypes.c_long)
        profiles = [profile for profile in _PROFILES if used & profile]
        return (
            state in {_RULES_COUNT, _ALL_INBOUND_BLOCKED}
            and bool(profiles)
            and all(
                policy.number("INetFwPolicy2.FirewallEnabled", _ENABLED, ctypes.c_short, ctypes.c_int(profile))
                for profile in profiles
            )
        )


def block(name: str, sid: str) -> None:
    """Let nothing in and out for whom this SID stands. Raises WindowsCallError, also when it has had no effect."""
    with _policy() as policy, policy.get("INetFwPolicy2.Rules", _RULES) as rules:
        for direction, word in ((_OUT, "out"), (_IN, "in")):
            title = f"{name} ({word})"
            if _blocks(rules, title, direction, sid):
                continue
            _remove(rules, title)
            _add(rules, title, direction, sid)
            if not _blocks(rules, title, direction, sid):
                raise WindowsCallError("INetFwRules.Add", 0, "the rule is not there as it was made")


def _blocks(rules: Object, title: str, direction: int, sid: str) -> bool:
    try:
        with text(title) as named:
            found = rules.get("INetFwRules.Item", _ITEM, named)
    except WindowsCallError as error:
        if error.code != _NOT_FOUND:
            raise
        return False
    with found, found.other("INetFwRule3", _RULE_INTERFACE) as rule:
        return (
            rule.number("INetFwRule.Action", _ACTION, ctypes.c_int) == _BLOCK
            and rule.number("INetFwRule.Enabled", _RULE_ENABLED, ctypes.c_short) != 0
            and rule.number("INetFwRule.Direction", _DIRECTION, ctypes.c_int) == direction
            and rule.number("INetFwRule.Protocol", _PROTOCOL, ctypes.c_long) == _ANY_PROTOCOL
            and rule.number("INetFwRule.Profiles", _RULE_PROFILES, ctypes.c_long) == _ALL_PROFILES
            and f";{sid})" in rule.text("INetFwRule3.LocalUserAuthorizedList", _USERS)
        )


def _remove(rules: Object, title: str) -> None:
    with text(title) as named:
        rules.call("INetFwRules.Remove", _REMOVE, named)  # nothing happens when there is none


def _add(rules: Object, title: str, direction: int, sid: str) -> None:
    with (
        created("NetFwRule", _RULE, _RULE_INTERFACE) as rule,
        text(title) as named,
        text("Code of users of the MT5 farm reaches the bridge of its terminal and nothing else.") as told,
        text(f"D:(A;;CC;;;{sid})") as users,
    ):
        rule.call("INetFwRule.Name", _PUT_NAME, named)
        rule.call("INetFwRule.Description", _PUT_DESCRIPTION, told)
        rule.call("INetFwRule.Protocol", _PUT_PROTOCOL, ctypes.c_long(_ANY_PROTOCOL))
        rule.call("INetFwRule.Direction", _PUT_DIRECTION, ctypes.c_int(direction))
        rule.call("INetFwRule.Profiles", _PUT_RULE_PROFILES, ctypes.c_long(_ALL_PROFILES))
        rule.call("INetFwRule.Action", _PUT_ACTION, ctypes.c_int(_BLOCK))
        rule.call("INetFwRule3.LocalUserAuthorizedList", _PUT_USERS, users)
        rule.call("INetFwRule.Enabled", _PUT_RULE_ENABLED, ctypes.c_short(_TRUE))
        rules.call("INetFwRules.Add", _ADD, rule.as_argument())
