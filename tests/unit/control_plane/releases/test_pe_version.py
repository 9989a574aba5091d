"""The build number comes out of the program itself."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.releases.pe_version import NoVersionError, file_version
from tests.unit.control_plane.releases.programs import program


def test_all_four_numbers_are_read() -> None:
    assert file_version(program((5, 1, 2, 5260))) == (5, 1, 2, 5260)


@pytest.mark.parametrize(
    "content", [b"", b"MZ", b"#!/bin/sh", program()[:600], program().replace(b"PE\0\0", b"LE\0\0")]
)
def test_what_has_no_version_says_so(content: bytes) -> None:
    with pytest.raises(NoVersionError):
        file_version(content)


@given(st.integers(0, 900), st.binary(min_size=1, max_size=8))
def test_a_damaged_one_never_fails_otherwise(place: int, damage: bytes) -> None:
    whole = program()
    with contextlib.suppress(NoVersionError):
        file_version(whole[:place] + damage + whole[place + len(damage) :])
