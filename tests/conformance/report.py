"""What of the official API is proven: `python -m tests.conformance.report`.

Counts the contract against the description of the package (and the wheel, where pip can download it), runs the
conformance tests, and names the rules of the behaviour notes that no passing test proves.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mt5_bridge import contract
from tests.conformance.contract_facts import WheelError, counts, wheel_facts

NOTES = Path(__file__).parents[2].parent / "shared" / "mt5_api"
_RULE = re.compile(r"^- ([A-Z]\d+) (.*)$")
_TAG = re.compile(r"\[([^\]]*)\]\s*$")
IN_PART = {
    "L9": "10020 comes by faults only: when a server says it and not 10004 is not documented",
}
"""Rules of which the tests prove a part, and what is left out."""


@dataclass(frozen=True)
class Rule:
    """A rule of the notes and its tag (source and confidence)."""

    number: str
    tag: str

    @property
    def is_high(self) -> bool:
        """Whether the notes are sure of it."""
        return bool(re.search(r"\bh\b", self.tag))


def rules() -> list[Rule]:
    """The rules of the behaviour notes, in their order."""
    found = []
    for line in (NOTES / "behaviour.md").read_text(encoding="utf-8").splitlines():
        match = _RULE.match(line)
        if match:
            tag = _TAG.search(match[2])
            found.append(Rule(match[1], tag[1] if tag else ""))
    return found


class Proofs:
    """Collects which rules the tests that ran are about, and how they ended."""

    def __init__(self) -> None:
        self.passed: defaultdict[str, int] = defaultdict(int)
        self.failed: defaultdict[str, list[str]] = defaultdict(list)
        self.tests = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test's end, and a failure or skip at any time."""
        if report.when != "call" and report.passed:
            return
        self.tests += report.when == "call"
        for kind, number in report.user_properties:
            if kind == "rule" and report.passed:
                self.passed[str(number)] += 1
            elif kind == "rule":
                self.failed[str(number)].append(report.nodeid)


def _say(line: str = "") -> None:
    sys.stdout.write(line + "\n")


def _contract() -> bool:
    complete = True
    found = {count.name: count for count in counts(json.loads((NOTES / "spec.json").read_text(encoding="utf-8")))}
    for count in found.values():
        complete &= count.is_complete
        _say(f"{count.name:<14} {count.right}/{count.total}")
        for wrong in count.wrong:
            _say(f"  not as in the package: {wrong}")
    try:
        version, constants, functions = wheel_facts()
    except WheelError as error:
        _say(f"wheel          not compared: {error}")
        return complete
    same = sum(contract.CONSTANTS.get(name) == value for name, value in constants.items())
    known = f"{len(functions & set(contract.FUNCTIONS))}/{len(contract.FUNCTIONS)} functions"
    _say(f"wheel {version} {same}/{len(constants)} constants, {known}, read from the package file itself")
    return complete and constants == contract.CONSTANTS and functions == set(contract.FUNCTIONS)


def _rules(proofs: Proofs) -> bool:
    known = rules()
    proven = [rule for rule in known if proofs.passed[rule.number] and not proofs.failed[rule.number]]
    parts = [rule.number for rule in proven if rule.number in IN_PART]
    _say(f"rules proven   {len(proven)}/{len(known)} by {proofs.tests} tests, {len(parts)} of them in part")
    for number in parts:
        _say(f"  in part: {number} {IN_PART[number]}")
    unproven = [rule for rule in known if rule not in proven]
    for rule in unproven:
        failed = ", ".join(proofs.failed[rule.number])
        reason = f"failed or skipped: {failed}" if failed else "no test names it"
        _say(f"  not proven: {rule.number} [{rule.tag}] {reason}")
    strangers = sorted((set(proofs.passed) | set(proofs.failed)) - {rule.number for rule in known})
    for number in strangers:
        _say(f"  a test names {number}, which is no rule")
    return len(unproven) < 10 and not any(rule.is_high for rule in unproven) and not strangers


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; 0 when the contract is complete, all tests passed, and enough is proven."""
    if not (NOTES / "behaviour.md").exists():
        _say(f"The behaviour notes are not at {NOTES}.")
        return 2
    complete = _contract()
    proofs = Proofs()
    code = pytest.main([str(Path(__file__).parent), "-q", "--no-header", *(argv or ())], plugins=[proofs])
    enough = _rules(proofs)
    return 0 if complete and enough and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
