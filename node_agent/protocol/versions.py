"""Versions of the protocol, `major.minor`. What is added comes with a minor version."""

from __future__ import annotations


def speaks(protocol: str, minor: int) -> bool:
    """Whether who says `protocol` knows what came with version 1.`minor`; False for what is no version."""
    major, _, said = protocol.partition(".")
    return major == "1" and said.isdecimal() and int(said) >= minor
