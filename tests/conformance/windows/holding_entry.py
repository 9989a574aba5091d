"""In place of a room's first program: says that the room holds, and becomes the module that it is told."""

import runpy
import sys

from node_agent.windows.bot_entry import HELD

print(HELD, flush=True)
del sys.argv[:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
