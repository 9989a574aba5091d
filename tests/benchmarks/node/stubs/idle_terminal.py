"""A process in a terminal's place that only waits for its end."""

from __future__ import annotations

import signal

if __name__ == "__main__":
    signal.sigwait({signal.SIGTERM})
