"""How many requests a caller may make, with a lane of its own for getting out of the market."""
