"""The process that keeps one sandboxed bot on Linux: `python -m mt5_bridge.sandbox.keeper --config FILE`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mt5_bridge.sandbox.availability import why_not
from mt5_bridge.sandbox.keeping import Keeper, keep
from mt5_bridge.sandbox.running import Sandbox


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit codes are those of `keep`."""
    return keep(lambda config: Keeper(config, Sandbox, why_not), arguments)


if __name__ == "__main__":
    sys.exit(main())
