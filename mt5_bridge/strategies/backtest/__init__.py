"""Backtests: the very strategy of a bot, on recorded ticks or bars, with the engine of the simulated broker."""
