"""Backups of a farm: its database and its files, never its master key."""
