"""When a process that died may start again. Pure: the caller brings time and jitter."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class RestartPolicy:
    """Durations in seconds."""

    settled: float
    """A process that was up for so long restarts at once, and its back-off begins anew."""
    base: float
    """First delay; it doubles with each short life."""
    cap: float
    """Longest delay."""
    window: float
    """Exits within this time are counted for the crash loop."""
    limit: int
    """So many exits in `window` are a crash loop: the delay becomes `cap`."""


@dataclass(frozen=True)
class Restarts:
    """Unwanted exits of one process and what follows from them."""

    count: int = 0
    """Exits since the process was first wanted."""
    short_lives: int = 0
    recent: tuple[float, ...] = ()
    """Times of the exits within the window, oldest first."""
    not_before: float = 0.0

    def after_exit(self, policy: RestartPolicy, started_at: float, now: float, jitter: float) -> Restarts:
        """`jitter` in [-1, 1] moves the delay by up to a fifth, so that a fleet does not restart in step."""
        recent = (*(at for at in self.recent if now - at < policy.window), now)[-policy.limit :]
        settled = now - started_at >= policy.settled
        short_lives = 0 if settled else self.short_lives + 1
        if len(recent) >= policy.limit:
            delay = policy.cap
        elif settled:
            delay = 0.0
        else:
            delay = min(policy.cap, policy.base * 2.0 ** min(short_lives - 1, 32))
        return Restarts(
            count=self.count + 1,
            short_lives=short_lives,
            recent=recent,
            not_before=now + delay * (1 + jitter / 5),
        )

    def crash_loop(self, policy: RestartPolicy, now: float) -> bool:
        return sum(now - at < policy.window for at in self.recent) >= policy.limit

    def may_start(self, now: float) -> bool:
        return now >= self.not_before

    def delayed_until(self, moment: float) -> Restarts:
        """After a start that failed before there was a process."""
        return replace(self, not_before=max(self.not_before, moment))

    def plausible(self, policy: RestartPolicy, now: float) -> Restarts:
        """Without times that the clock has not reached: the machine was restarted, or an older agent wrote them."""
        return replace(
            self,
            recent=tuple(at for at in self.recent if at <= now),
            not_before=min(self.not_before, now + policy.cap * 1.2),
        )

    def lifted(self) -> Restarts:
        """After a person asked for a restart: the count stays, the back-off is forgotten."""
        return replace(self, short_lives=0, recent=(), not_before=0.0)


NO_EXITS = Restarts()
