"""Sends what the contract allows, what it forbids, and what is right but for one thing, and judges every answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from random import Random
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from requests import PreparedRequest, Request
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as BrokenConnection
from schemathesis import GenerationMode, Response
from schemathesis.core.result import Ok

from control_plane.app import openapi_document
from tests.authz.matrix import Line, Verdict, Whose, read
from tests.authz.requests import wish
from tests.authz.stage import Stage
from tests.authz.walk import NOBODY
from tests.fuzz_api.damage import body_of, damage_address, damage_body, damage_header, set_body
from tests.fuzz_api.judgement import Finding, broken_promises
from tests.fuzz_api.people import Asker, askers

_PATIENCE_SECONDS = 60
_FORGET_EVERY = 25
_MADE = {"POST /api/v1/accounts": "account_id", "POST /api/v1/bots": "bot_id", "POST /api/v1/auth/api-keys": "key_id"}
_NOTHING_LEFT = (
    "confirm-dead",
    "/revoke",
    "/move",
    "/drain",
    "/cordon",
    "/undeploy",
    "/credentials",
    "/end-sessions",
    "/role",
)
"""Deeds after which there would be nothing to ask about any more."""


@dataclass
class Report:
    """How many cases were sent, what came back, and which promises were broken."""

    seed: int
    cases: Counter[str] = field(default_factory=Counter)
    """By asker."""
    statuses: Counter[int] = field(default_factory=Counter)
    calls: set[str] = field(default_factory=set)
    findings: dict[tuple[str, str], Finding] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.cases.total()

    def __iadd__(self, other: Report) -> Report:
        self.cases += other.cases
        self.statuses += other.statuses
        self.calls |= other.calls
        self.findings = {**other.findings, **self.findings}
        return self


@dataclass(frozen=True)
class _Door:
    """One operation: its place in the contract and in the matrix of who may."""

    operation: Any
    line: Line

    @property
    def headers(self) -> set[str]:
        """Those that a request may have."""
        parameters = self.operation.definition.raw.get("parameters", [])
        return {"Content-Type", *(each["name"] for each in parameters if each["in"] == "header")}

    @property
    def protected(self) -> bool:
        return self.line.verdict(NOBODY, Whose.STRANGERS) is Verdict.WHO_ARE_YOU


class Fuzz:
    """The same seed sends the same cases, as far as the farm's own ids allow."""

    def __init__(self, stage: Stage, seed_number: int, tell: Callable[[Report], None] = lambda _: None) -> None:
        """`tell` is called after each case."""
        self._stage = stage
        self._tell = tell
        self._askers = askers(stage)
        self._random = Random(seed_number)
        self._adapter = HTTPAdapter(pool_maxsize=1)
        self._spare_node = stage.spare_node()
        self._turn = 0
        self.report = Report(seed_number)

    def run(self, cases: int) -> Report:
        """At least so many: every operation gets its share."""
        doors = _doors()
        share = -(-cases // len(doors))
        for number, door in enumerate(doors):
            for case in drawn(door.operation, share // 2, self.report.seed + number):
                self._send(door, self._from_contract(door, case))
            while self._turn < (number + 1) * share:
                self._send(door, self._right_but_for_one_thing)
        return self.report

    def _send(self, door: _Door, make: Callable[[_Door, Asker], tuple[PreparedRequest, bool]]) -> None:
        if self._turn % _FORGET_EVERY == 0:
            self._stage.forget_attempts()
        asker = self._askers[self._turn % len(self._askers)]
        self._turn += 1
        request, is_whole = make(door, asker)
        try:
            response = self._answer(request)
        except BrokenConnection as error:
            self._found("no answer", door, asker, f"{error} to {_shown(request)}")
            return
        self._note(door, asker, response, is_whole=is_whole)

    def _from_contract(self, door: _Door, case: Any) -> Callable[[_Door, Asker], tuple[PreparedRequest, bool]]:
        def make(_door: _Door, asker: Asker) -> tuple[PreparedRequest, bool]:
            if self._random.random() < 0.5:
                for name in case.path_parameters or {}:
                    known = asker.knows(name, to_delete=door.line.method == "DELETE")
                    if known:
                        case.path_parameters[name] = self._random.choice(known)
            sent = case.as_transport_kwargs(base_url=self._stage.portal)
            # Only what the contract names: credentials are the asker's, and other names may make it no HTTP at all.
            named = {name: value for name, value in sent["headers"].items() if name in door.headers}
            sent |= {"cookies": {}, "headers": {**named, **self._headers(asker)}}
            return Request(**sent).prepare(), True

        return make

    def _right_but_for_one_thing(self, door: _Door, asker: Asker) -> tuple[PreparedRequest, bool]:
        deletes = door.line.method == "DELETE"
        about = asker.things
        about = replace(
            about,
            account_id=self._random.choice(asker.knows("account_id", to_delete=deletes) or [about.terminal_id]),
            bot_id=self._random.choice(asker.knows("bot_id", to_delete=deletes) or [about.terminal_id]),
            key_id=self._random.choice(asker.knows("key_id", to_delete=deletes) or [about.terminal_id]),
        )
        right = wish(door.line, about, self._node_id(door))
        headers = {**right.headers, **self._headers(asker)}
        request = Request(right.method, self._stage.portal + right.path, headers=headers).prepare()
        if right.content:
            set_body(request, right.content)
        kind = self._random.random()
        if kind < 0.55 and right.content:
            damage_body(request, self._random)
        elif kind < 0.85:
            damage_address(request, self._random)
        elif kind < 0.95:
            damage_header(request, self._random)
        return request, kind >= 0.95

    def _headers(self, asker: Asker) -> dict[str, str]:
        # A connection that is kept may be closed by the farm just when it is used again.
        return {"Origin": self._stage.portal, "Connection": "close", **asker.headers()}

    def _node_id(self, door: _Door) -> str:
        harmful = door.line.subject == "node" and door.line.method != "GET"
        return self._spare_node if harmful else self._stage.node.node_id

    def _answer(self, request: PreparedRequest) -> Response:
        answer = self._adapter.send(request, stream=True, timeout=_PATIENCE_SECONDS)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer._content = b""  # a stream never ends; that it has begun is all there is to judge
            answer.close()
        return Response.from_requests(answer, verify=False)

    def _note(self, door: _Door, asker: Asker, response: Response, *, is_whole: bool) -> None:
        report, call = self.report, door.line.call
        report.cases[asker.name] += 1
        report.statuses[response.status_code] += 1
        report.calls.add(call)
        self._tell(report)
        needs_somebody = door.protected and not asker.is_somebody
        for kind in broken_promises(door.operation, response, needs_somebody=needs_somebody, is_whole=is_whole):
            said = f"{response.status_code} {response.text[:200]} to {_shown(response.request)}"
            self._found(kind, door, asker, said)
        made = _MADE.get(call)
        if made is not None and response.status_code == HTTPStatus.CREATED:
            asker.learn(made, response.json()["id"])

    def _found(self, kind: str, door: _Door, asker: Asker, said: str) -> None:
        call = door.line.call
        self.report.findings.setdefault((kind, call), Finding(kind, call, asker.name, said))


def drawn(operation: Any, count: int, seed_number: int) -> list[Any]:
    """Cases that break the contract where it can be broken, at most half of them, and cases that keep to it."""
    breaking = _drawn(operation, GenerationMode.NEGATIVE, count // 2, seed_number)
    return [*breaking, *_drawn(operation, GenerationMode.POSITIVE, count - len(breaking), seed_number)]


def _drawn(operation: Any, mode: GenerationMode, count: int, seed_number: int) -> list[Any]:
    found: list[Any] = []

    @seed(seed_number)
    @settings(
        max_examples=max(count, 1),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(case)

    try:
        collect()
    except Unsatisfiable:
        return []  # a route without parameters cannot be asked wrongly in this way
    return found[:count]


def _doors() -> list[_Door]:
    lines = {each.call: each for each in read()}
    contract = schemathesis.openapi.from_dict(openapi_document())
    operations = [found.ok() for found in contract.get_all_operations() if isinstance(found, Ok)]
    doors = [_Door(each, lines[each.label]) for each in operations]
    return sorted(doors, key=lambda door: any(each in door.line.path for each in _NOTHING_LEFT))


def _shown(request: Any) -> str:
    return json.dumps({"url": request.url[-300:], "body": str(body_of(request))[:300]})
