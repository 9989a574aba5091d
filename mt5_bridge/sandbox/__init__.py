"""The room in which code runs that a user has brought: no network, no neighbours, nothing of the node's, limits."""
