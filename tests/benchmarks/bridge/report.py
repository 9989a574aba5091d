"""The figures of a run as tables, each row against its goal."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.benchmarks.bridge.ways import CHANGING

GOALS: dict[str, tuple[float, float]] = {
    "symbol_info_tick": (1.6, 3.0),
    "account_info": (1.6, 3.0),
    "order_send": (2.2, 4.5),
    "symbol_info, 96 fields read": (2.0, 3.5),
    "positions_get, 100 read": (17.0, 21.0),
    "100,000 bars": (1.3, 4.0),
    "1,000,000 bars": (1.3, 4.0),
    "1,000,000 ticks": (1.3, 4.0),
}
TIMES_MT5LINUX = (15.0, 8.0)


@dataclass
class Report:
    """Ratios by operation and way, and lines of their own."""

    ratios: dict[str, dict[str, float]] = field(default_factory=dict)
    raw_seconds: dict[str, float] = field(default_factory=dict)
    goals: list[tuple[str, str, str, bool]] = field(default_factory=list)
    """What, measured, goal, whether it is reached."""
    notes: list[str] = field(default_factory=list)

    def judge(self, what: str, value: float, goal: float, *, at_least: bool = False, digits: int = 2) -> None:
        """Hold a figure against its goal."""
        sign = ">=" if at_least else "<="
        reached = value >= goal if at_least else value <= goal
        self.goals.append((what, f"{value:,.{digits}f}", f"{sign} {goal:,g}", reached))

    def judge_ratios(self) -> None:
        """All goals for single calls."""
        for operation, by_way in self.ratios.items():
            for place, name in ((0, "local"), (1, "gateway")):
                goals = GOALS.get(operation.removesuffix(CHANGING))
                if goals is not None:
                    self.judge(f"{operation}, {name}", by_way[name], goals[place])
                if "mt5linux" in by_way:
                    faster = by_way["mt5linux"] / by_way[name]
                    what = f"{operation}, {name}, times faster than mt5linux"
                    self.judge(what, faster, TIMES_MT5LINUX[place], at_least=True, digits=1)

    def text(self) -> str:
        """Markdown."""
        ways = list(dict.fromkeys(way for by_way in self.ratios.values() for way in by_way))
        lines = ["| operation | raw TCP | " + " | ".join(ways) + " |", "|---" * (len(ways) + 2) + "|"]
        for operation, by_way in self.ratios.items():
            cells = [f"{by_way[way]:,.1f}" if way in by_way else "" for way in ways]
            lines.append(f"| {operation} | {_time(self.raw_seconds[operation])} | " + " | ".join(cells) + " |")
        lines += ["", "| what | measured | goal | |", "|---|---|---|---|"]
        lines += [f"| {what} | {value} | {goal} | {'ok' if ok else 'MISSED'} |" for what, value, goal, ok in self.goals]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:,.1f} ms"
