"""Directory of broker servers that accounts can be connected to."""
