"""A terminal that costs nothing: `python -m stub_terminal --folder DIR --ipc unix:/path`.

The password decides what it does: `wrong` is refused by the broker, `crash` ends at once, anything else logs in. It
answers one JSON line for each connection: the account, and the deals in `DIR/deals.json`. It counts its logins in
`DIR/../logins`. `DIR/hang` makes it stop answering.
"""

from __future__ import annotations

import argparse
import configparser
import json
import signal
import socketserver
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--ipc")
    options = parser.parse_args()
    folder: Path = options.folder
    startup = configparser.ConfigParser(interpolation=None)
    startup.read(folder / "config" / "startup.ini")
    common = startup["Common"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (folder.parent / "logins").open("a") as logins:
        logins.write(f"{common['Password']}\n")
    if common["Password"] == "crash":
        return 1

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while (folder / "hang").exists():
                time.sleep(0.05)
            deals = folder / "deals.json"
            state = {
                "login": int(common["Login"]),
                "server": common["Server"],
                "refused": common["Password"] == "wrong",
                "deals": json.loads(deals.read_text()) if deals.exists() else [],
            }
            self.wfile.write(json.dumps(state).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    with Server(options.ipc.removeprefix("unix:"), Answer) as server:
        server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
