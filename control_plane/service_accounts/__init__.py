"""Service accounts: programs that work for a tenant rather than for a person."""
