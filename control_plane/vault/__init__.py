"""Secrets at rest: sealed under a key per tenant, which is wrapped by the farm's master key."""
