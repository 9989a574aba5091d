"""In whose name the fuzzer asks, and whose things it knows the ids of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from control_plane.errors import FarmError
from control_plane.identity.cookies import SESSION_COOKIE
from control_plane.identity.scopes import KeyScope, allowed_scopes
from control_plane.identity.sessions import Browser
from control_plane.identity.state import Role
from control_plane.ids import new_id
from tests.authz.stage import Person, Stage


@dataclass
class Asker:
    """One who sends requests. Whoever `is_somebody` is signed in before each of them."""

    name: str
    is_somebody: bool
    headers: Callable[[], dict[str, str]]
    things: Person
    made: dict[str, list[str]] = field(default_factory=dict)
    """Ids of what the requests have made, by the name of the path's parameter: these may be deleted."""

    def knows(self, parameter: str, *, to_delete: bool) -> list[str]:
        """Real ids. What everything else stands on is not to be deleted."""
        own = getattr(self.things, parameter, None)
        stays = [] if to_delete or own is None else [str(own)]
        return [*stays, *self.made.get(parameter, [])[-5:]]

    def learn(self, parameter: str, new: str) -> None:
        self.made.setdefault(parameter, []).append(new)


def askers(stage: Stage) -> list[Asker]:
    """Two who are nobody, then a trader, a trader's program, and those who run the farm."""
    people = {each.role: each for each in stage.people if each.tenant == "operator"}
    trader = _with_many_codes(people[Role.TRADER])
    return [
        Asker("anonymous", False, dict, trader),
        Asker("forged cookie", False, lambda: {"Cookie": f"{SESSION_COOKIE}=forged"}, trader),
        Asker("forged key", False, lambda: {"Authorization": f"Bearer {new_id('forged')}"}, trader),
        Asker("trader", True, _Browser(stage, trader.email).headers, trader),
        Asker("program", True, _Program(stage, trader.email).headers, trader),
        *(
            Asker(str(role), True, _Browser(stage, people[role].email).headers, _with_many_codes(people[role]))
            for role in (Role.OPS, Role.OWNER)
        ),
    ]


def _with_many_codes(person: Person) -> Person:
    """What is right in a request but for its code is as good for finding mistakes."""
    return replace(person, recovery_codes=_Endless(person.recovery_codes))


class _Endless(list[str]):
    def pop(self, index: object = -1) -> str:
        return "aaaaa-aaaaa"


class _Browser:
    """Signs in again when a request has ended its session."""

    def __init__(self, stage: Stage, email: str) -> None:
        self._farm = stage.world.farm
        self._email = email
        self._secret = ""

    def headers(self) -> dict[str, str]:
        try:
            self._farm.sessions.authenticate(self._secret)
        except FarmError:
            with self._farm.database.write_as_system() as session:
                user = self._farm.identity.require_user(session, self._email)
                self._secret = self._farm.sessions.open(session, user, Browser(), second_factor=True).secret
        return {"Cookie": f"{SESSION_COOKIE}={self._secret}"}


class _Program:
    """A key with all scopes of its owner's role; another one when a request has revoked it."""

    def __init__(self, stage: Stage, email: str) -> None:
        self._farm = stage.world.farm
        self._email = email
        self._text = ""

    def headers(self) -> dict[str, str]:
        try:
            self._farm.api_keys.authenticate(f"Bearer {self._text}", KeyScope.READ)
        except FarmError:
            with self._farm.database.write_as_system() as session:
                user = self._farm.identity.require_user(session, self._email)
                self._text = self._farm.api_keys.make(session, user, "fuzz", allowed_scopes(user.role), None).text
        return {"Authorization": f"Bearer {self._text}"}
