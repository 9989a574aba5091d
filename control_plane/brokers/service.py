"""Find broker servers, and say which one was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from sqlalchemy.orm import Session

from control_plane.brokers import repository
from control_plane.brokers.model import BrokerServer
from control_plane.brokers.state import Source
from control_plane.clock import Clock
from control_plane.errors import invalid_field

_SUGGESTIONS = 3
_CUTOFF = 0.6


def close_matches(name: str, known: Sequence[str]) -> list[str]:
    """Up to three known names that look like `name`, the closest first; case, spaces and punctuation do not matter."""
    by_letters = {_letters(each): each for each in known}
    found = difflib.get_close_matches(_letters(name), list(by_letters), n=_SUGGESTIONS, cutoff=_CUTOFF)
    return [by_letters[each] for each in found]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def find_servers(session: Session, text: str, limit: int) -> tuple[list[BrokerServer], list[BrokerServer]]:
    """Servers whose names or company contain the text; only when there are none, those that look like it."""
    found = repository.search(session, text, limit)
    if found or not text:
        return found, []
    alike = close_matches(text, repository.all_names(session))
    return [], [server for name in alike if (server := repository.by_name(session, name)) is not None]


def require_server(session: Session, name: str) -> BrokerServer:
    """Raises InvalidInputError `unknown_server` with suggestions."""
    server = repository.by_name(session, name)
    if server is not None:
        return server
    suggestions = close_matches(name, repository.all_names(session))
    hint = f" Did you mean {' or '.join(suggestions)}?" if suggestions else " Please pick one from the list."
    raise invalid_field("server", f"The farm does not know the broker server '{name}'.{hint}", code="unknown_server")


def is_live(session: Session, name: str) -> bool:
    """Whether a known server is a real broker's, where real money may be."""
    server = repository.by_name(session, name)
    return server is not None and server.simulated_address is None


def add_server(session: Session, clock: Clock, name: str, company: str, simulated_address: str | None) -> BrokerServer:
    """Add a server, or correct the one of this name."""
    server = repository.by_name(session, name)
    if server is None:
        server = BrokerServer(name=name)
        session.add(server)
    server.company, server.simulated_address, server.updated_at = company, simulated_address, clock.now()
    session.flush()
    return server


def learn_server(session: Session, clock: Clock, name: str, company: str) -> None:
    """A terminal brought this name along. What is known of it already stays."""
    if repository.by_name(session, name) is None:
        add_server(session, clock, name, company, None).source = Source.TEMPLATE
        session.flush()
