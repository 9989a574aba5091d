"""What is kept of a password."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from control_plane.identity import passwords


def test_a_hash_is_made_with_the_recommended_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "PasswordHasher", PasswordHasher)
    real = passwords.Passwords()
    kept = real.hash("correct horse battery")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert real.verify(kept, "correct horse battery")
    assert not real.verify(kept, "correct horse")
    assert not real.verify(None, "correct horse battery")
