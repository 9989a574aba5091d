"""The real agent with stub terminals and bots: `python -m stub_agent run --data DIR`."""

from __future__ import annotations

from node_agent import cli
from node_agent.worker import Modules

if __name__ == "__main__":
    cli.main(Modules(terminal="stub_terminal", worker="stub_worker", bot="stub_bot"))
