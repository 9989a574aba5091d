"""History in files: saved from a terminal, brought into shape for a replay, and MT5's own CSV."""
