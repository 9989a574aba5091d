"""`python -m provisioning.wine --into DIR`: a Wine prefix and a Windows Python with the official package in it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from provisioning.wine.agent_python import make_agent_python
from provisioning.wine.prefix import make_prefix
from provisioning.wine.tools import WineError, wine64
from provisioning.wine.windows_python import make_windows_python


def _progress(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print where things are, as one line of JSON. Exit code 2 when it cannot be done, with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m provisioning.wine", description=__doc__)
    parser.add_argument("--into", required=True, type=Path, help="folder for `prefix` and `python`")
    parser.add_argument("--agent", action="store_true", help="also `agent`, a Python that can run the node agent")
    options = parser.parse_args(arguments)
    into = options.into
    try:
        python = make_windows_python(into / "python", _progress)
        made = {
            "wine64": str(wine64()),
            "prefix": str(make_prefix(into / "prefix", _progress)),
            "python": str(python),
        }
        if options.agent:
            made["agent_python"] = str(make_agent_python(into / "agent", python.parent, _progress))
    except (WineError, OSError) as error:
        sys.stderr.write(f"python -m provisioning.wine: {error}\n")
        return 2
    sys.stdout.write(json.dumps(made) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
