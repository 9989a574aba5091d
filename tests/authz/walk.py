"""Walks the whole matrix: everybody tries everything, with what is theirs and with what is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx

from control_plane.identity.state import Role
from tests.authz.matrix import Line, Verdict, Whose
from tests.authz.requests import Wish, wish
from tests.authz.stage import Person, Stage

NOBODY = "nobody"
_LAST = (
    "DELETE /api/v1/auth/passkeys/{passkey_id}",
    "DELETE /api/v1/backtests/{backtest_id}",
    "DELETE /api/v1/bots/{bot_id}",
    "DELETE /api/v1/custom-strategies/{strategy_id}",
    "DELETE /api/v1/accounts/{account_id}",
    "DELETE /api/v1/alerts/thresholds/{threshold_id}",
    "DELETE /api/v1/copy-invitations/{copy_invitation_id}",
    "DELETE /api/v1/webhooks/{webhook_id}",
    "POST /api/v1/auth/change-password",
    "POST /api/v1/auth/second-factor/recovery-codes",
    "DELETE /api/v1/auth/second-factor",
    "POST /api/v1/auth/sessions/end-others",
    "POST /api/v1/auth/sign-out-everywhere",
    "POST /api/v1/auth/sign-out",
)
_DISTURBING = ("undeploy", "kill", "credentials", "/nodes", "/terminals")
_HIDDEN = {
    "account": "account_not_found",
    "backtest": "backtest_not_found",
    "bot": "bot_not_found",
    "consent": "invitation_not_found",
    "copier": "copier_not_found",
    "invitation": "invitation_not_found",
    "key": "api_key_not_found",
    "mail": "no_recorded_mail",
    "member": "member_not_found",
    "passkey": "passkey_not_found",
    "service": "service_account_not_found",
    "session": "session_not_found",
    "strategy": "strategy_not_found",
    "test": "connection_test_not_found",
    "threshold": "threshold_not_found",
    "webhook": "webhook_not_found",
}
_OF_THE_FLEET = ("/api/v1/nodes", "/api/v1/jobs", "/api/v1/placements", "/api/v1/pools", "/api/v1/tenant-placements")
_PAST_THE_DOOR = (
    '"bad_code"',
    '"bad_passkey"',
    '"bot_not_running"',
    '"change_not_found"',
    '"delivery_not_found"',
    '"link_not_valid"',
    '"no_telegram"',
    '"job_not_found"',
    '"kill_switch_not_found"',
    '"link_spent"',
    '"backtest_not_ended"',
    '"no_logs"',
    '"order_not_found"',
    '"pending_order_not_found"',
    '"position_not_found"',
    '"no_report"',
    '"pool_not_found"',
    '"tenant_not_found"',
)
"""Answers of routes that ask for something that not even the right person has here."""


@dataclass(frozen=True)
class Try:
    """One request: who, what, and about whose things."""

    line: Line
    who: Person | None
    about: Person
    expected: Verdict

    def __str__(self) -> str:
        return f"{self.line.call} by {self.who.column if self.who else NOBODY} about {self.about.column}"


@dataclass
class Report:
    """What the walk found. A wrong allow is anything that went through, was shown or was changed against the matrix."""

    routes: int = 0
    checks: int = 0
    wrong_allows: list[str] = field(default_factory=list)
    wrong_refusals: list[str] = field(default_factory=list)

    def __iadd__(self, other: Report) -> Report:
        self.routes = max(self.routes, other.routes)
        self.checks += other.checks
        self.wrong_allows += other.wrong_allows
        self.wrong_refusals += other.wrong_refusals
        return self


def whose(who: Person, about: Person) -> Whose:
    if who is about:
        return Whose.OWN
    return Whose.COLLEAGUES if who.tenant == about.tenant else Whose.STRANGERS


def tries(line: Line, stage: Stage, *, everybody: bool) -> Iterator[Try]:
    """What everybody tries; with only one owner of each kind as subject unless `everybody`."""
    first = stage.people[0]
    yield Try(line, None, first, line.verdict(NOBODY, Whose.STRANGERS))
    for who in stage.people:
        met: set[Whose] = set()
        for about in _subjects(line, who, stage):
            kind = whose(who, about)
            if everybody or kind not in met:
                met.add(kind)
                yield Try(line, who, about, line.verdict(who.column, kind))


def _subjects(line: Line, who: Person, stage: Stage) -> Sequence[Person]:
    if line.subject == "member":  # those of other roles are not everybody's to move, which the unit tests of it say
        return [who, *(each for each in stage.people if each.role is Role.TRADER and each is not who)]
    return stage.people if line.has_owner else [who]


class Walk:
    """Refusals first, while everything is as it was; then what is allowed, which changes things."""

    def __init__(self, stage: Stage, lines: list[Line], *, everybody: bool) -> None:
        self._stage = stage
        self._lines = sorted(lines, key=_turn)
        self._everybody = everybody
        self._http = httpx.Client(timeout=60)
        self.report = Report(routes=len(lines))

    def run(self) -> Report:
        for line in self._lines:
            self._stage.forget_attempts()
            before = self._stage.rows()
            refused = [each for each in self._tries(line) if each.expected is not Verdict.MAY]
            for each in refused:
                self._send(each)
            if refused:
                self._check_unchanged(line, before)
        for line in self._lines:
            self._stage.forget_attempts()
            for each in self._tries(line):
                if each.expected is Verdict.MAY:
                    self._send(each)
        self._http.close()
        return self.report

    def _tries(self, line: Line) -> Iterator[Try]:
        return tries(line, self._stage, everybody=self._everybody)

    def _send(self, each: Try) -> None:
        node_id = self._stage.node.node_id
        if each.expected is Verdict.MAY and each.line.subject == "node" and each.line.method != "GET":
            node_id = self._stage.spare_node()
        about = each.about
        if each.expected is Verdict.MAY and each.line.subject in {"invitation", "service"}:
            about = self._stage.spare(about)
        if each.line.subject == "terminal":
            about = self._stage.people[-1]
        status, body = self._ask(wish(each.line, about, node_id), each)
        self.report.checks += 1
        verdict = judge(status, body, each.line)
        if verdict is not each.expected:
            said = f"{each}: {each.expected.name} expected, but {status} {body[:200]}"
            wrong = self.report.wrong_allows if verdict is Verdict.MAY else self.report.wrong_refusals
            wrong.append(said)
        self._check_leaks(each, body)

    def _ask(self, what: Wish, each: Try) -> tuple[int, str]:
        base = self._stage.address(each.line.application)
        headers = {**what.headers, "Origin": base}
        if each.who is not None:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in each.who.cookies.items())
        request = self._http.build_request(what.method, base + what.path, content=what.content, headers=headers)
        response = self._http.send(request, stream=True)
        try:
            if response.status_code == httpx.codes.SWITCHING_PROTOCOLS:
                return response.status_code, ""
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                return response.status_code, next(response.iter_text())
            return response.status_code, response.read().decode(errors="replace")
        finally:
            response.close()
            self._http.cookies.clear()

    def _check_leaks(self, each: Try, body: str) -> None:
        """No answer speaks of what belongs to somebody else, except that those who run the fleet see all of it."""
        if each.expected is Verdict.MAY and each.line.path.startswith(_OF_THE_FLEET):
            return
        self.report.checks += 1
        for person in self._stage.people:
            shown = [mark for mark in person.marks if _speaks_of(mark, body)]
            if shown and not _may_be_named(person, each):
                self.report.wrong_allows.append(f"{each}: shows {shown}")

    def _check_unchanged(self, line: Line, before: dict[str, list[str]]) -> None:
        self.report.checks += 1
        after = self._stage.rows()
        changed = sorted(name for name in before if before[name] != after[name])
        if changed:
            self.report.wrong_allows.append(f"{line.call}: refused, and yet {changed} changed")


def _speaks_of(mark: str, body: str) -> bool:
    """A login is a number, and may by chance be a part of a longer one: of the seconds in a metric, for instance."""
    return mark in body and re.search(rf"(?<!\d)(?<!\d\.){re.escape(mark)}(?!\.?\d)", body) is not None


def _may_be_named(person: Person, each: Try) -> bool:
    may = each.expected is Verdict.MAY
    if each.who is None:
        return may and person is each.about
    manages = "/members" in each.line.path or "/service-accounts" in each.line.path
    looks_after = may and manages and person.tenant == each.who.tenant
    return person is each.who or looks_after


def judge(status: int, body: str, line: Line) -> Verdict | None:
    """What an answer means; None for what no line of the matrix asks for, such as a mistake of the farm."""
    if status in {400, 401, 404} and any(code in body for code in _PAST_THE_DOOR):
        return Verdict.MAY
    if status == 401:
        return Verdict.WHO_ARE_YOU
    if status == 403:
        return Verdict.NOT_IN_ROLE if '"role_required"' in body else None
    if status == 404 and f'"{_HIDDEN.get(line.subject)}"' in body:
        return Verdict.HIDDEN
    # A conflict with the present state is past every check of who may.
    fine = status < 300 or status == 409
    not_built = status == 503 and line.path == "/{path:path}"
    return Verdict.MAY if fine or not_built else None


def _turn(line: Line) -> tuple[int, str]:
    if line.call in _LAST:
        return 3 + _LAST.index(line.call), line.call
    if any(each in line.path for each in _DISTURBING):
        return 2, line.call
    return (0 if line.method == "GET" else 1), line.call
