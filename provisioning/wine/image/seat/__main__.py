"""`seat terminal [screen]|worker|host` in a running container; `seat prefix|verify` while the image is built."""

from __future__ import annotations

import sys

from provisioning.wine.image.seat import terminal, worker
from provisioning.wine.image.seat.prefix import make_template
from provisioning.wine.image.seat.tested import differences


def main() -> int:
    """Exit code 78 when the image is not the tested set."""
    match sys.argv[1:]:
        case ["terminal"]:
            return terminal.run()
        case ["terminal", "screen"]:
            return terminal.run(show_screen=True)
        case ["worker", _]:  # the second word tells the agent which settings a worker was started with
            worker.run_worker()
        case ["host"]:
            worker.run_host()
        case ["prefix"]:
            make_template()
            return 0
        case ["verify"]:
            found = differences()
            sys.stdout.write("".join(f"{sentence}\n" for sentence in found))
            return terminal.UNTESTED if found else 0
    sys.stderr.write(f"{__doc__}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
