"""The control plane: users, trading accounts, nodes, assignments and the trade log."""
