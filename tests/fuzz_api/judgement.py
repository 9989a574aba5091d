"""What is wrong with an answer, if anything: pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from schemathesis import Response
from schemathesis.core.failures import Failure, FailureGroup

PROBLEM = "application/problem+json"
REFUSED = frozenset({401, 403})
UNREAD = frozenset({400, 413, 415, 431})
"""Said before anybody looks who asks: the request is too large or no request at all."""


@dataclass(frozen=True)
class Finding:
    """One broken promise; those of one kind count once."""

    kind: str
    call: str
    asker: str
    said: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.call} by {self.asker}: {self.said}"


def broken_promises(operation: Any, response: Response, *, needs_somebody: bool, is_whole: bool) -> list[str]:
    """Of an answer to this operation. `needs_somebody` is whether it must refuse the one who has asked.

    A request that is not whole may be refused before it is known who asks.
    """
    status = response.status_code
    wrong = ["server error"] if status >= 500 else []
    if needs_somebody and status not in (REFUSED if is_whole else REFUSED | UNREAD):
        wrong.append("auth ignored")
    documented = operation.definition.raw["responses"].get(str(status))
    if documented is None:
        return [*wrong, f"undocumented status {status}"]
    return wrong + _wrong_body(operation, response, documented.get("content", {}))


def _wrong_body(operation: Any, response: Response, documented: Collection[str]) -> list[str]:
    if not documented:
        return ["a body that is not documented"] if response.content else []
    given = (response.headers.get("content-type") or [""])[0].partition(";")[0]
    if given not in documented:
        return [f"undocumented media type {given!r}"]
    if given not in {"application/json", PROBLEM}:
        return []
    try:
        operation.validate_response(response)
    except (Failure, FailureGroup) as failure:
        return [f"body against its schema: {str(failure)[:300]}"]
    return []
