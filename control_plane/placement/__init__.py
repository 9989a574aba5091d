"""Which node a terminal should run on: a pure decision and its explanation."""
