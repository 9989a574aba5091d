"""Walks routes with keys for programs: every scope at every route, and keys of service accounts over the matrix."""

from __future__ import annotations

from pathlib import Path

import httpx

from control_plane.identity.scopes import KeyScope
from control_plane.identity.state import Role
from tests.authz.matrix import Line, Verdict, Whose
from tests.authz.requests import wish
from tests.authz.stage import Person, Stage
from tests.authz.walk import Report, judge

OPEN, SESSION = "open", "session"
_FILE = Path(__file__).with_name("scopes.txt")
_AT_THE_DOOR = ('"bad_api_key"', '"session_required"', '"scope_required"', '"not_signed_in"')


def needed_scopes() -> dict[str, str]:
    """What each route of the REST API asks of a key."""
    rows = [line.split("|") for line in _FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {call.strip(): scope.strip() for call, scope in rows}


class KeyWalk:
    """Asks with keys alone; a cookie, were there one, would not be looked at."""

    def __init__(self, stage: Stage, lines: list[Line]) -> None:
        self._stage = stage
        self._needed = needed_scopes()
        self._lines = [line for line in lines if self._needed.get(line.call, OPEN) != OPEN]
        self._http = httpx.Client(timeout=60)
        self.report = Report(routes=len(self._lines))

    def run(self) -> Report:
        self._walk_scopes()
        for role in (Role.TRADER, Role.SUPPORT):
            self._walk_program(role)
        self._http.close()
        return self.report

    def _walk_scopes(self) -> None:
        """The owner of the operator may do everything, so that only the scope is in the way."""
        owner = next(each for each in self._stage.people if each.column == f"operator:{Role.OWNER}")
        keys = {scope: self._stage.key(owner.user_id, scope) for scope in KeyScope}
        for line in self._lines:
            for scope, key in keys.items():
                needed = self._needed[line.call]
                status, body = self._ask(line, owner, key)
                passed = not any(code in body for code in _AT_THE_DOOR)
                self._note(f"{line.call} with a key for {scope}: {status} {body[:200]}", passed, needed == scope)

    def _walk_program(self, role: Role) -> None:
        """It owns nothing, so that everything is a colleague's or a stranger's."""
        key = self._stage.program("broker", role)
        for line in self._lines:
            for about in self._stage.people if line.has_owner else self._stage.people[:1]:
                whose = Whose.COLLEAGUES if about.tenant == "broker" else Whose.STRANGERS
                expected = line.verdict(f"broker:{role}", whose)
                status, body = self._ask(line, about, key)
                if any(code in body for code in _AT_THE_DOOR):
                    passed, wanted = False, False
                else:
                    passed, wanted = judge(status, body, line) is Verdict.MAY, expected is Verdict.MAY
                self._note(
                    f"{line.call} by a program ({role}) about {about.column}: {status} {body[:200]}", passed, wanted
                )

    def _note(self, said: str, passed: bool, expected: bool) -> None:
        self.report.checks += 1
        if passed and not expected:
            self.report.wrong_allows.append(said)
        if expected and not passed:
            self.report.wrong_refusals.append(said)

    def _ask(self, line: Line, about: Person, key: str) -> tuple[int, str]:
        self._stage.forget_attempts()
        what = wish(line, about, self._stage.node.node_id)
        headers = {**what.headers, "Authorization": f"Bearer {key}"}
        request = self._http.build_request(
            what.method, self._stage.portal + what.path, content=what.content, headers=headers
        )
        response = self._http.send(request, stream=True)
        try:
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                return response.status_code, next(response.iter_text())
            return response.status_code, response.read().decode(errors="replace")
        finally:
            response.close()
