"""For which address passkeys are made."""

from __future__ import annotations

import pytest

from control_plane.errors import ConfigurationError
from control_plane.identity.relying_party import relying_party


@pytest.mark.parametrize(
    ("portal_url", "domain", "origins", "expected"),
    [
        ("https://farm.example", None, None, ("farm.example", ("https://farm.example",))),
        ("https://Farm.Example:8443", None, None, ("farm.example", ("https://farm.example:8443",))),
        ("https://farm.example", "example", None, ("example", ("https://farm.example",))),
        (
            "https://farm.example",
            "example",
            "https://a.example, https://b.example",
            ("example", ("https://a.example", "https://b.example")),
        ),
        ("http://127.0.0.1:8080", None, None, ("localhost", ("http://localhost:8080",))),
        ("http://[::1]:8080", None, None, ("localhost", ("http://localhost:8080",))),
        ("https://192.0.2.7", None, None, None),
    ],
)
def test_it_follows_from_the_settings(
    portal_url: str, domain: str | None, origins: str | None, expected: tuple[str, tuple[str, ...]] | None
) -> None:
    party = relying_party("Farm", portal_url, domain, origins)
    assert (None if party is None else (party.domain, party.origins)) == expected


@pytest.mark.parametrize(
    ("domain", "origins", "said"),
    [
        ("other.example", None, "MT5FARM_PASSKEY_DOMAIN"),
        ("arm.example", None, "MT5FARM_PASSKEY_DOMAIN"),
        (None, "https://farm.example,https://evil.test", "https://evil.test"),
        (None, "farm.example", "must begin with https://"),
    ],
)
def test_an_address_outside_of_the_domain_is_said_at_the_start(
    domain: str | None, origins: str | None, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        relying_party("Farm", "https://farm.example", domain, origins)
