"""Requests that a client may send again: what came of a key's first one."""
