"""Orders, deals and equity: what was wished, what the broker did, and what it came to."""
