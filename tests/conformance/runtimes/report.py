"""What the runtimes are proven to do: `python -m tests.conformance.runtimes.report`.

Runs the contract's cases on every runtime that can run here, the faulty ones, and an agent with real containers; then
counts. A runtime that cannot run here is named with the reason, and never counted as proven.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OTHERS = {
    "test_fault_drivers": "fault drivers",
    "test_agent_with_containers": "agent with containers",
    "test_container_walls": "walls of containers",
}


class Counts:
    """How the cases ended, by runtime."""

    def __init__(self) -> None:
        self.ends: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.cases: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.reasons: defaultdict[str, set[str]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a case's end, or that it could not begin."""
        if report.when != "call" and report.passed:
            return
        file = Path(report.nodeid.partition("::")[0]).stem
        case, _, parameters = report.nodeid.rpartition("::")[2].partition("[")
        runtime = dict(report.user_properties).get("runtime") or OTHERS.get(file, file)
        # A case may have several parameters; it is proven when all of them are.
        variant = parameters.removesuffix("]").replace(str(runtime), "").strip("-")
        end = report.outcome
        self.ends[str(runtime)][end] += 1
        self.cases[f"{case}{f' ({variant})' if variant else ''}"][str(runtime)] = end
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[str(runtime)].add(report.longrepr[2])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0 when every case passed on every runtime that could run."""
    counts = Counts()
    code = pytest.main([str(HERE), "-q", "--no-header", *(argv or ())], plugins=[counts])
    runtimes = [name for name in counts.ends if name not in OTHERS.values()]
    width = max((len(case) for case in counts.cases), default=0)
    _say(f"\n{'case':<{width}}  {'  '.join(runtimes)}")
    for case, ends in counts.cases.items():
        if set(ends) & set(runtimes):
            row = "  ".join(f"{ends.get(runtime, '-'):<{len(runtime)}}" for runtime in runtimes)
            _say(f"{_words(case):<{width}}  {row}")
    _say()
    for name, ended in counts.ends.items():
        _say(
            f"{name:<22} {ended['passed']}/{ended.total()} passed, {ended['failed']} failed, {ended['skipped']} skipped"
        )
        for reason in counts.reasons[name]:
            _say(f"  {reason}")
    return int(code)


def _words(case: str) -> str:
    return case.removeprefix("test_").replace("_", " ")


def _say(line: str = "") -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
