"""What can be wrong with a request: one thing at a time, drawn by the run's own random numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import quote

from requests import PreparedRequest

BODIES = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b"\x00",
    b"\xff\xfe{\x00}\x00",
    b"\xef\xbb\xbf{}",
    b'"\xed\xa0\x80"',
    b'{"\\ud800": "\\udfff"}',
    b'{"reason": 1, "reason": 2}',
    b'{"a": ' + b"9" * 5_000 + b"}",
    b"[" * 100_000,
    b'{"a": "' + b"x" * 300_000 + b'"}',
)
MEDIA_TYPES = (
    None,
    "",
    "text/plain",
    "application/xml",
    "multipart/form-data",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-16",
    "application/problem+json",
    "application/json, text/plain",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**31,
    2**53,
    2**63,
    -(2**63) - 1,
    10**30,
    1e308,
    5e-324,
    float("nan"),
    float("-inf"),
    "",
    " ",
    "\x00",
    "a\x00b",
    "\ud800",
    "\U0010ffff",
    "%s%n../..",
    "' OR 1=1 --",
    "x" * 10_000,
    "٣",
    [],
    {},
    [[]],
    {"a": "\x00"},
)
TEXTS = (
    "%00",
    "a%00b",
    "%ED%A0%80",
    "%FF",
    "%F4%8F%BF%BF",
    "%25",
    "..",
    "9" * 40,
    "-1",
    "0",
    "1e999",
    "NaN",
    "x" * 5_000,
)
HEADERS = (
    ("Idempotency-Key", "k" * 10_000),
    ("Idempotency-Key", ""),
    ("Idempotency-Key", "\u00ff"),
    ("If-Match", "nonsense"),
    ("If-Match", '"'),
    ("If-Match", "*"),
    ("If-Match", "W/" * 500),
    ("Cookie", "mt5farm_device=\u00ff; =; ;"),
    ("Accept", "application/xml"),
    ("X-Request-Id", "\u00e9" * 100),
    ("Range", "bytes=0-"),
    ("X-HTTP-Method-Override", "DELETE"),
)


def damage_body(request: PreparedRequest, random: Random) -> None:
    """Another body, another value in it, or another media type."""
    match random.randrange(3):
        case 0:
            set_body(request, random.choice(BODIES))
        case 1:
            request.headers["Content-Type"] = random.choice(MEDIA_TYPES) or ""
            set_body(request, body_of(request) or b"{}")
        case _:
            set_body(request, _with_one_wrong_value(body_of(request), random))


def damage_address(request: PreparedRequest, random: Random) -> None:
    """A parameter in the path, or one of the query, that cannot be meant."""
    address, _, query = (request.url or "").partition("?")
    wrong = random.choice(TEXTS)
    if query and random.random() < 0.7:
        pairs = query.split("&")
        place = random.randrange(len(pairs))
        pairs[place] = f"{pairs[place].partition('=')[0]}={wrong}"
        request.url = f"{address}?{'&'.join([*pairs, *random.choices(pairs, k=random.randrange(2))])}"
        return
    name = random.choice(["cursor", "limit", "state", "count", "symbol", "since", quote("\x00"), "a[b]"])
    request.url = f"{address}?{query}&{name}={wrong}"


def damage_header(request: PreparedRequest, random: Random) -> None:
    name, value = random.choice(HEADERS)
    request.headers[name] = value.encode("latin-1")


def body_of(request: PreparedRequest) -> bytes:
    body = request.body
    if isinstance(body, str):
        return body.encode()
    return body if isinstance(body, bytes) else b""


def set_body(request: PreparedRequest, body: bytes) -> None:
    request.body = body
    request.headers["Content-Length"] = str(len(body))
    request.headers.setdefault("Content-Type", "application/json")


def _with_one_wrong_value(body: bytes, random: Random) -> bytes:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return b"{"
    places = list(_places(value))
    wrong = random.choice(VALUES)
    if not places:
        return json.dumps(wrong).encode()
    holder, key = random.choice(places)
    if isinstance(holder, dict) and random.random() < 0.1:
        holder[random.choice(["\x00", "\ud800", "x" * 1_000])] = holder.pop(key)
    else:
        holder[key] = wrong
    return json.dumps(value).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where something could be put: each holder with a key or an index."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield value, key
        yield from _places(each)
