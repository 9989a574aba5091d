"""What the agent asks of Windows: `port` says it, `calls` does it with ctypes, everything above is plain Python."""
