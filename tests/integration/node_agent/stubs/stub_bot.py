"""A bot that does nothing but say that it runs: `python -m stub_bot --config FILE`.

Its strategy decides: `hopeless` gives up for good, `nervous` ends with an error at once, anything else runs.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    config = json.loads(parser.parse_args().config.read_text())
    status, log = Path(config["status_file"]), Path(config["log_file"])
    now = "2026-01-05T10:00:00Z"

    def say(phase: str, detail: str) -> None:
        status.write_text(json.dumps({"phase": phase, "detail": detail, "at": now, "revision": config["revision"]}))
        with log.open("a") as file:
            file.write(json.dumps({"at": now, "level": "info", "text": f"{phase} {detail}"}) + "\n")

    if config["strategy"] == "hopeless":
        say("failed", "the parameters make no sense")
        return 3
    if config["strategy"] == "nervous":
        return 1
    say("running", f"revision {config['revision']}")
    signal.sigwait({signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
