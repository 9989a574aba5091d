"""The judge of answers: each promise that can be broken is seen to be broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("schemathesis", reason="needs the package schemathesis")

import requests
import schemathesis

from tests.fuzz_api.judgement import PROBLEM, broken_promises

CONTRACT = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "paths": {
        "/bots": {
            "get": {
                "responses": {
                    "200": {
                        "description": "",
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "required": ["id"],
                                    "properties": {"id": {"type": "string"}},
                                }
                            }
                        },
                    },
                    "204": {"description": ""},
                    "401": {"description": "", "content": {PROBLEM: {"schema": {"type": "object"}}}},
                    "413": {"description": "", "content": {PROBLEM: {"schema": {"type": "object"}}}},
                }
            }
        }
    },
}


def judged(
    status: int, body: Any, media_type: str = "application/json", *, nobody: bool = False, whole: bool = True
) -> list[str]:
    operation = schemathesis.openapi.from_dict(CONTRACT)["/bots"]["get"]
    content = b"" if body is None else json.dumps(body).encode()
    response = schemathesis.Response(
        status_code=status,
        headers={"content-type": [media_type]},
        content=content,
        request=requests.Request("GET", "http://x/bots").prepare(),
        elapsed=0.1,
        verify=False,
    )
    return broken_promises(operation, response, needs_somebody=nobody, is_whole=whole)


@pytest.mark.parametrize(
    ("status", "body", "media_type"), [(200, {"id": "bot_1"}, "application/json"), (204, None, ""), (401, {}, PROBLEM)]
)
def test_what_is_promised_passes(status: int, body: Any, media_type: str) -> None:
    assert judged(status, body, media_type) == []


@pytest.mark.parametrize(
    ("status", "body", "media_type", "kind"),
    [
        (500, {}, PROBLEM, "server error"),
        (503, {}, PROBLEM, "server error"),
        (409, {}, PROBLEM, "undocumented status 409"),
        (200, {"id": 7}, "application/json", "body against its schema"),
        (200, {}, "application/json", "body against its schema"),
        (200, {"id": "bot_1"}, "text/html", "undocumented media type"),
        (401, {}, "application/json", "undocumented media type"),
        (204, {"id": "bot_1"}, "application/json", "a body that is not documented"),
    ],
)
def test_what_is_not_is_named(status: int, body: Any, media_type: str, kind: str) -> None:
    assert any(each.startswith(kind) for each in judged(status, body, media_type))


def test_a_route_that_lets_nobody_in_is_held_to_it() -> None:
    assert judged(200, {"id": "bot_1"}, nobody=True) == ["auth ignored"]
    assert judged(413, {}, PROBLEM, nobody=True) == ["auth ignored"]
    assert judged(401, {}, PROBLEM, nobody=True) == []
    assert judged(413, {}, PROBLEM, nobody=True, whole=False) == []
