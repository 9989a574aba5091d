"""Rules of the firewall, on objects that keep what they are told: Wine has the interfaces and implements none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

if sys.platform == "win32":
    import ctypes

    from node_agent.windows import firewall
    from node_agent.windows.port import WindowsCallError

    SID = "S-1-5-21-1-2-3-1004"
    OUT = "Bots (out)"

    class Rule(dict[int, Any]):
        """Properties by the places of their getters, which are one before those of their setters."""

        def __enter__(self) -> Rule:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def call(self, name: str, place: int, value: Any) -> None:
            text = isinstance(value, ctypes.c_void_p)
            self[place - 1] = ctypes.wstring_at(value.value or 0) if text else value.value

        def number(self, name: str, place: int, kind: Any) -> int:
            return int(self[place])

        def text(self, name: str, place: int) -> str:
            return str(self[place])

        def other(self, name: str, interface: object) -> Rule:
            return self

        def as_argument(self) -> Rule:
            return self

    class Rules:
        """In place of INetFwPolicy2 and its INetFwRules."""

        def __init__(self) -> None:
            self.state, self.used, self.off = 0, 0b100, 0
            self.kept: dict[str, Rule] = {}
            self.added = 0
            self.deaf = False

        def __enter__(self) -> Rules:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def get(self, name: str, place: int, *arguments: Any) -> Any:
            if name == "INetFwPolicy2.Rules":
                return self
            title = ctypes.wstring_at(arguments[0].value)
            if title not in self.kept:
                raise WindowsCallError(name, 0x80070002, "not found")
            return self.kept[title]

        def call(self, name: str, place: int, argument: Any) -> None:
            if name == "INetFwRules.Remove":
                self.kept.pop(ctypes.wstring_at(argument.value), None)
                return
            self.added += 1
            if not self.deaf:
                self.kept[argument[7]] = argument

        def number(self, name: str, place: int, kind: Any, *arguments: Any) -> int:
            if name == "INetFwPolicy2.LocalPolicyModifyState":
                return self.state
            if name == "INetFwPolicy2.CurrentProfileTypes":
                return self.used
            return 0 if arguments[0].value & self.off else -1

    @pytest.fixture
    def rules(monkeypatch: pytest.MonkeyPatch) -> Rules:
        made = Rules()

        @contextmanager
        def policy() -> Iterator[Rules]:
            yield made

        monkeypatch.setattr(firewall, "_policy", policy)
        monkeypatch.setattr(firewall, "created", lambda *_: Rule())
        return made

    def test_a_group_is_blocked_in_both_directions_on_all_networks_and_protocols(rules: Rules) -> None:
        firewall.block("Bots", SID)
        assert set(rules.kept) == {OUT, "Bots (in)"}
        assert rules.kept[OUT][15] == 256
        assert (rules.kept[OUT][27], rules.kept["Bots (in)"][27]) == (2, 1)
        for rule in rules.kept.values():
            assert (rule[33], rule[37], rule[41]) == (-1, 0x7FFFFFFF, 0)
            assert rule[49] == f"D:(A;;CC;;;{SID})"

    def test_rules_that_are_there_stay(rules: Rules) -> None:
        firewall.block("Bots", SID)
        firewall.block("Bots", SID)
        assert rules.added == 2

    @pytest.mark.parametrize(
        ("place", "value"), [(15, 6), (27, 1), (33, 0), (37, 1), (41, 1), (49, "D:(A;;CC;;;S-1-5-21-9-9-9-1)")]
    )
    def test_a_rule_that_was_changed_is_made_anew(rules: Rules, place: int, value: object) -> None:
        firewall.block("Bots", SID)
        rules.kept[OUT][place] = value
        firewall.block("Bots", SID)
        assert rules.added == 3
        assert rules.kept[OUT][place] != value

    def test_a_rule_that_does_not_come_to_be_is_an_error(rules: Rules) -> None:
        rules.deaf = True
        with pytest.raises(WindowsCallError, match="not there"):
            firewall.block("Bots", SID)

    @pytest.mark.parametrize(
        ("state", "used", "off", "on"),
        [
            (0, 0b100, 0, True),
            (2, 0b110, 0, True),  # what comes in is blocked for everybody
            (1, 0b100, 0, False),  # group policy overrides what is set here
            (0, 0b110, 0b010, False),
            (0, 0b100, 0b010, True),  # of a network that it is not on
            (0, 0, 0, False),
        ],
    )
    def test_the_firewall_is_on_if_it_is_for_all_networks_in_use(
        rules: Rules, state: int, used: int, off: int, on: bool
    ) -> None:
        rules.state, rules.used, rules.off = state, used, off
        assert firewall.is_on() is on
