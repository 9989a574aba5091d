"""From which addresses accounts of whom reach which broker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy.orm import Session

from control_plane.placement import repository


class Neighbours:
    """Brokers take many owners behind one address for one owner who hides. `addresses` has them by node id."""

    def __init__(self, session: Session, companies: Collection[str], addresses: Mapping[str, str]) -> None:
        self._owners: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        if not companies:
            return
        for company, node_id, first, last in repository.owners_at(session, companies):
            self._owners[company][addresses.get(node_id, node_id)] |= {first, last}

    def addresses_of_others(self, company: str, user_id: str) -> frozenset[str]:
        """Where somebody else than this user has an account at that broker."""
        return frozenset(address for address, owners in self._owners[company].items() if owners - {user_id})

    def add(self, company: str, address: str, user_id: str) -> None:
        self._owners[company][address].add(user_id)
