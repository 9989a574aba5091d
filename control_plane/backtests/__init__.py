"""Backtests and searches of parameters on the history of an account's own terminal."""
