"""The contract as it is published: what holds for every route is added to what each of them says of itself."""

from __future__ import annotations

import re
from typing import Any

from control_plane.http import IDEMPOTENCY_KEY
from control_plane.identity.cookies import SESSION_COOKIE
from control_plane.problems import Problem, problem_responses

_SESSION = {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE, "description": "Of a browser that is signed in."}
_KEY = {"type": "http", "scheme": "bearer", "description": "A key for programs."}
_ALWAYS = (422, 429, 503)
_NEEDS_CALLER = (401, 403)
_CHANGES = (403, 413, 415)
"""Refused before the route is asked: by the guard against forgery, and by the limit of bodies."""
_REPEATABLE = (409,)
_CONDITIONAL = (412,)


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """The framework's description of the routes, made whole."""
    document["components"]["securitySchemes"] = {"session": _SESSION, "key": _KEY}
    for path in document["paths"].values():
        for method, operation in path.items():
            _add_common_errors(method, operation)
    return _with_public_names(_with_problem_schema(document))


def _add_common_errors(method: str, operation: dict[str, Any]) -> None:
    headers = {each["name"] for each in operation.get("parameters", []) if each["in"] == "header"}
    statuses = [
        *_ALWAYS,
        *(_NEEDS_CALLER if "security" in operation else ()),
        *(_CHANGES if method != "get" else ()),
        *(_REPEATABLE if IDEMPOTENCY_KEY in headers else ()),
        *(_CONDITIONAL if "If-Match" in headers else ()),
    ]
    responses = operation["responses"]
    documented = {str(status): answer for status, answer in problem_responses(*statuses).items()}
    # Over what is there: for 422 the framework documents a body of its own, which the farm never sends.
    operation["responses"] = dict(sorted({**responses, **documented}.items()))


def _public_name(component: str) -> str:
    """`AccountOut` is `Account` to the world, and `Page_AccountOut_` is `AccountPage`.

    What reads and answers of one record differ in, since an answer leaves nothing out, is `Limits` and `LimitsInput`.
    """
    component = component.removesuffix("-Output").replace("-Input", "Input")
    item = re.fullmatch(r"Page_(\w+?)(?:Out)?_", component)
    return f"{item[1]}Page" if item else component.removesuffix("Out")


def _with_public_names(document: dict[str, Any]) -> dict[str, Any]:
    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: _renamed_reference(each) if key == "$ref" else renamed(each) for key, each in value.items()}
        return [renamed(each) for each in value] if isinstance(value, list) else value

    document = renamed(document)
    schemas = document["components"]["schemas"]
    public = {_public_name(name): schema | {"title": _public_name(name)} for name, schema in sorted(schemas.items())}
    if len(public) != len(schemas):
        raise TypeError(f"two schemas of the contract have one public name: {sorted(map(_public_name, schemas))}")
    document["components"]["schemas"] = public
    return document


def _renamed_reference(reference: str) -> str:
    folder, _, name = reference.rpartition("/")
    return f"{folder}/{_public_name(name)}"


def _with_problem_schema(document: dict[str, Any]) -> dict[str, Any]:
    """The schema that all error answers refer to."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = document["components"]["schemas"]
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    # The framework documents its own body for invalid input, which the farm never sends.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document
