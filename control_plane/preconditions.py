"""Change a thing only as it was seen: entity tags, and the If-Match header that names one.

A tag stands for what can be wished of a thing, not for what is observed of it: a terminal that becomes ready changes
no tag, a new intent does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Header

from control_plane.errors import PreconditionFailedError, PreconditionRequiredError, invalid_field

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=400,
        description="The `ETag` of what you have seen. When it has been changed since, nothing is done (412).",
    ),
]
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_TAGS = re.compile(rf"\s*{_TAG.pattern}\s*(?:,\s*{_TAG.pattern}\s*)*")
TAGGED: Mapping[int | str, dict[str, Any]] = {
    200: {"headers": {"ETag": {"description": "For If-Match with changes.", "schema": {"type": "string"}}}}
}
"""For the `responses` of a route that answers with a tag."""


def entity_tag(*wished: str | int | None) -> str:
    """Of everything that the requests of users can change about a thing."""
    return f'"{hashlib.sha256(json.dumps(wished).encode()).hexdigest()[:32]}"'


def require_match(given: str | None, present: str, *, needed: bool = False) -> None:
    """To be called where the thing is held, in the transaction that changes it.

    Raises PreconditionFailedError when it is not as the caller has seen it, PreconditionRequiredError when they must
    say how they have seen it and do not, InvalidInputError for a header that is none.
    """
    if given is None:
        if needed:
            raise PreconditionRequiredError(
                "Say which state you want to change: send the ETag of what you have seen as If-Match."
            )
        return
    if given.strip() == "*":
        return
    if _TAGS.fullmatch(given) is None:
        raise invalid_field("If-Match", "If-Match takes an ETag in its quotes, as an answer of the farm gave it.")
    # Weak tags match nothing here, as RFC 9110 has it for If-Match.
    if present not in _TAG.findall(given):
        raise PreconditionFailedError("This has been changed since you saw it. Look at it again, then decide anew.")
