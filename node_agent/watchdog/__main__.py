"""Process entry: `python -m node_agent.watchdog --data DIR`. Exit code 0 after SIGTERM, 2 for a folder that is none.

It looks at the fence file four times a second and kills what is overdue, again and again until the lease is renewed. It
imports little: it is there for the hour in which the machine has no memory left.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from node_agent.watchdog.duty import Duty

POLL_SECONDS: Final = 0.25
_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")


def main() -> int:
    parser = argparse.ArgumentParser(prog="node_agent.watchdog", description="Kills what has outlived its lease.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the node")
    data: Path = parser.parse_args().data
    if not data.is_dir():
        sys.stderr.write(f"{data} is no folder\n")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)sZ %(levelname)s %(message)s")
    logging.Formatter.converter = time.gmtime
    with suppress(OSError):  # allowed to root alone
        _OOM_SCORE.write_text("-900")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    duty = Duty(data)
    while not stop.wait(POLL_SECONDS):
        duty.look()
    return 0


if __name__ == "__main__":
    sys.exit(main())
