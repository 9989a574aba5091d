"""A package, so that its files can share what belongs to all of them."""
