"""Strategies that users bring themselves: uploaded, looked at in a sandbox, kept in versions that never change."""
