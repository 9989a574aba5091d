"""Makes a confined job, starts a program in it, prints its key and waits to be killed: `python -m ... JOB`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from node_agent.windows.calls import WindowsCalls
from node_agent.windows.port import JobLimits, Program
from tests.conformance.windows.sign_in import signed_in


def main() -> None:
    windows = WindowsCalls()
    windows.make_job(sys.argv[1], JobLimits(confined=True))
    with signed_in(windows) as (user, password):
        command = (sys.executable, "-c", "import time; time.sleep(600)")
        environment = {"SystemRoot": os.environ["SYSTEMROOT"]}
        started = windows.launch_confined(Program(command, Path.cwd(), None, environment), sys.argv[1], user, password)
        print(started.key.pid, started.key.created, flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main()
