"""Plays every attempt and shows what became of it: `python -m tests.sandbox.run [NAME]`."""

from __future__ import annotations

import sys

from mt5_bridge.sandbox.availability import why_not
from tests.sandbox.stage import raised


def main() -> int:
    """Exit code 0 when all were refused or contained, 1 when not, 2 when this machine has no sandbox."""
    reason = why_not()
    if reason is not None:
        sys.stderr.write(f"{reason}\n")
        return 2
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    escapes = 0
    with raised() as stage:
        chosen = [each for each in stage.attempts if only in each.name]
        for outcome in stage.play_all(chosen):
            attempt = outcome.attempt
            escapes += not outcome.held
            verdict = ("contained" if attempt.contained else "refused") if outcome.held else "ESCAPED"
            sys.stdout.write(f"{verdict:10} {attempt.name:34} {outcome.seconds:5.1f} s  {outcome.told[:100]}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} attempts, {escapes} not held\n")
    return 1 if escapes else 0


if __name__ == "__main__":
    sys.exit(main())
