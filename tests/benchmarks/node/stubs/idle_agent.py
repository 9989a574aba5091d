"""The real agent with terminals and workers that cost little: `python -m idle_agent run --data DIR`."""

from __future__ import annotations

from node_agent import cli
from node_agent.worker import Modules

if __name__ == "__main__":
    cli.main(Modules(terminal="idle_terminal", worker="idle_worker"))
