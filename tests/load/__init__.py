"""Many nodes, users and browsers at once, against the real control plane on its real database."""
