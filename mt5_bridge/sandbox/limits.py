"""How much one sandbox may use, and when it has used too much. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Sizes are bytes, times seconds."""

    memory: int = 512 * MIB
    """Of all its processes together, as the kernel counts what is theirs alone."""
    processes: int = 32
    open_files: int = 128
    file_size: int = 16 * MIB
    folder_size: int = 48 * MIB
    folder_entries: int = 500
    temporary: int = 32 * MIB
    cpu_share: float = 0.25
    """Of one core, in the long run."""
    cpu_burst: float = 8.0
    """Seconds of a whole core that it may have saved up."""
    wall_clock: float | None = None
    """After so long it is ended; None for a bot, which runs until it is stopped."""
    output_rate: float = 256 * 1024
    """Bytes a second that are read of what it prints; it waits for the rest."""
    lines_rate: float = 20.0
    """Lines a second of its log that are kept."""
    lines_burst: float = 200.0


DRY_RUN = Limits(memory=384 * MIB, processes=8, wall_clock=15.0, cpu_share=1.0)
"""For a look at what a file declares."""


@dataclass(frozen=True)
class Usage:
    """What one look at a sandbox found."""

    memory: int = 0
    processes: int = 0
    folder_size: int = 0
    folder_entries: int = 0
    running_for: float = 0.0


def excess(usage: Usage, limits: Limits) -> str | None:
    """Why it has to be ended, in words for its owner, or None."""
    if usage.memory > limits.memory:
        return f"It used more than {limits.memory // MIB} MB of memory, so it was ended."
    if usage.processes > limits.processes:
        return f"It started more than {limits.processes} processes, so it was ended."
    if usage.folder_size > limits.folder_size:
        return f"It wrote more than {limits.folder_size // MIB} MB of files, so it was ended."
    if usage.folder_entries > limits.folder_entries:
        return f"It made more than {limits.folder_entries} files, so it was ended."
    if limits.wall_clock is not None and usage.running_for > limits.wall_clock:
        return f"It did not finish within {limits.wall_clock:g} seconds, so it was ended."
    return None


class Bucket:
    """A budget that refills with time: `rate` a second, `most` saved up. Times are seconds of any clock."""

    def __init__(self, rate: float, most: float, now: float) -> None:
        self._rate = rate
        self._most = most
        self._level = most
        self._at = now

    def spend(self, amount: float, now: float) -> bool:
        """Take it whether it is there or not; False while the budget is overdrawn."""
        self._refill(now)
        self._level -= amount
        return self._level >= 0

    def take(self, amount: float, now: float) -> bool:
        """Take it only if it is there."""
        self._refill(now)
        if self._level < amount:
            return False
        self._level -= amount
        return True

    def _refill(self, now: float) -> None:
        self._level = min(self._most, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now
