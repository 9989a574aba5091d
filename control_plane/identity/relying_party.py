"""For which web address passkeys are made: the "relying party" of WebAuthn, worked out from the settings."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from control_plane.errors import ConfigurationError

_LOCALHOST = "localhost"


@dataclass(frozen=True)
class RelyingParty:
    domain: str
    """The RP ID: passkeys made for it work at this host and below it, and nowhere else."""
    origins: tuple[str, ...]
    """`scheme://host[:port]` of the pages that may ask for them."""
    name: str
    """What the browser shows."""


def relying_party(name: str, portal_url: str, domain: str | None, origins: str | None) -> RelyingParty | None:
    """None when browsers reach the portal at an IP address, for which no browser makes passkeys.

    The loopback address is `localhost` by another name. `origins` has commas between them. Raises ConfigurationError
    when an origin is not at the domain or below it.
    """
    pages = tuple(_origin(each.strip()) for each in (origins or portal_url).split(",") if each.strip())
    host = urlsplit(pages[0]).hostname or ""
    chosen = (domain or host).lower()
    if _is_address(chosen):
        return None
    for each in pages:
        at = urlsplit(each).hostname or ""
        if at != chosen and not at.endswith(f".{chosen}"):
            raise ConfigurationError(
                f"passkeys for {chosen} would not work at {each}; set MT5FARM_PASSKEY_DOMAIN to that host or a parent "
                "of it, or leave it out of MT5FARM_PASSKEY_ORIGINS"
            )
    return RelyingParty(chosen, pages, name)


def _origin(address: str) -> str:
    """Raises ConfigurationError for what is no web address."""
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"{address} is no address of a web page: it must begin with https:// and name a host")
    if _is_address(parts.hostname) and ipaddress.ip_address(parts.hostname).is_loopback:
        port = "" if parts.port is None else f":{parts.port}"
        return f"{parts.scheme}://{_LOCALHOST}{port}"
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
