"""`mt5farm demo`: the whole farm on one machine, with a simulated broker, for newcomers and for tests."""
