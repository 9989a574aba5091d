"""Terminal templates: which build of MetaTrader 5 runs for which broker server, tried on one node and rolled back."""
