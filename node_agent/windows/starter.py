"""`python -m node_agent.windows.starter --orders DIR`: carries out the agent's orders as the terminal's own user.

The Task Scheduler starts it in that user's session. It takes every order that lies in the folder, answers each, and
ends; what it has started lives on in its job. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from node_agent.files import write_atomically
from node_agent.windows.orders import (
    ANSWER_SUFFIX,
    ORDER_SUFFIX,
    Answer,
    Launch,
    Order,
    answer_to_text,
    order_from_text,
)
from node_agent.windows.port import Windows, WindowsCallError


def carry_out(windows: Windows, order: Order) -> Answer:
    """Never raises what Windows refuses: the answer says it."""
    try:
        if isinstance(order, Launch):
            return Answer(process=windows.launch(order.program, order.job))
        return Answer(windows=windows.ask_to_close(order.process))
    except WindowsCallError as error:
        return Answer(error=str(error))


def take_orders(windows: Windows, folder: Path) -> int:
    """Carry out what lies there; gives how many orders that were. Raises OSError."""
    taken = 0
    for order in sorted(folder.glob(f"*{ORDER_SUFFIX}")):
        mine = order.with_suffix(".taken")
        try:
            # Two starters may run at once: whoever renames the file has the order.
            order.rename(mine)
        except OSError:
            continue
        try:
            answer = carry_out(windows, order_from_text(mine.read_text(encoding="utf-8")))
        except ValueError as error:
            answer = Answer(error=str(error))
        write_atomically(order.with_suffix(ANSWER_SUFFIX), answer_to_text(answer).encode())
        with suppress(OSError):
            mine.unlink()
        taken += 1
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Exit code 0 when orders were carried out, 1 when there were none."""
    from node_agent.windows.calls import WindowsCalls

    parser = argparse.ArgumentParser(
        prog="python -m node_agent.windows.starter", description="Start what the agent asks for."
    )
    parser.add_argument("--orders", required=True, type=Path, help="folder of the agent's orders")
    return 0 if take_orders(WindowsCalls(), parser.parse_args(arguments).orders) else 1


if __name__ == "__main__":
    sys.exit(main())
