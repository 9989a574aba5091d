"""MetaTrader 5's own files on a node: templates of it, the portable folder of a terminal, its start-up file."""
