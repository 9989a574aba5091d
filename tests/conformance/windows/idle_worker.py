"""A bridge worker's stand-in: takes its configuration and waits."""

import sys
import time

print("idle", sys.argv[1:], flush=True)
time.sleep(600)
