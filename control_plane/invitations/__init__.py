"""Invitations: how somebody becomes one of a tenant's people."""
