"""Who knows what came with a minor version."""

from __future__ import annotations

import pytest

from node_agent.protocol.versions import speaks


@pytest.mark.parametrize(
    ("protocol", "known"),
    [("1.2", True), ("1.10", True), ("1.1", False), ("2.0", False), ("", False), ("1.", False), ("1.x", False)],
)
def test_a_minor_version_includes_those_before_it(protocol: str, known: bool) -> None:
    assert speaks(protocol, 2) is known
