"""What every route of the REST API does before and around its own work: the conventions in one place.

First it is known who asks, then whether the request can be read, then whether it is a repetition.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from anyio import to_thread
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from control_plane.container import Farm
from control_plane.db.races import is_lost_race
from control_plane.errors import FarmError, InvalidInputError, invalid_field
from control_plane.http import IDEMPOTENCY_KEY, KEY_LENGTH, aside, asks_who, get_caller
from control_plane.idempotency.schemas import ShownOnce
from control_plane.idempotency.service import Answer, Asked
from control_plane.identity.scopes import needed_scope
from control_plane.identity.sessions import Caller

_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
REPLAYED = "Idempotency-Replayed"
_KEPT_HEADERS = ("content-type", "etag", "location", "retry-after")
_REFUSALS = (FarmError, RequestValidationError, HTTPException)
_Handler = Callable[[Request], Awaitable[Response]]


class ApiRoute(APIRoute):
    """A route of the contract.

    What blocks is done in one thread, from finding out who asks to the text of the answer: each change of threads
    costs more than most of what is done in between. So its dependencies never wait but for `aside`.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._blocks = not iscoroutinefunction(endpoint)
        super().__init__(path, _without_a_thread(endpoint) if self._blocks else endpoint, **options)
        if not _only_async(self.dependant):
            raise TypeError(f"{path}: dependencies of the contract's routes are async, and leave the loop by `aside`")
        self._knows_caller = asks_who(self.dependant)
        keeps_keys = any(each.alias == IDEMPOTENCY_KEY for each in self.dependant.header_params)
        self.is_repeatable = self._knows_caller and self.methods == {"POST"} and not keeps_keys
        """Whether an Idempotency-Key is honoured here. Trades demand one, and keep it with the order."""
        self._shown_once = isinstance(self.response_model, type) and issubclass(self.response_model, ShownOnce)
        extra: dict[str, Any] = dict(self.openapi_extra or {})
        if self._knows_caller:
            tags = [str(tag) for tag in self.tags]
            by_key = any(needed_scope(method, tags) for method in self.methods or ())
            extra["security"] = [{"session": []}, {"key": []}] if by_key else [{"session": []}]
        if self.is_repeatable:
            extra["parameters"] = [*extra.get("parameters", []), _KEY_PARAMETER]
        self.openapi_extra = extra

    def get_route_handler(self) -> Callable[[Request], Any]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            farm: Farm = request.app.state.farm
            if self._knows_caller:
                await get_caller(request, farm)
            await _require_readable(request)
            key = request.headers.get(IDEMPOTENCY_KEY)
            if key is None or not self.is_repeatable:
                return await handler(request)
            return await self._once(farm, request, key, handler)

        async def handle(request: Request) -> Response:
            if not self._blocks:
                return await answer(request)
            await request.body()  # which is all that has to be waited for
            return await to_thread.run_sync(_carried_out, answer(request))

        return handle

    async def _once(self, farm: Farm, request: Request, key: str, handler: _Handler) -> Response:
        if not 0 < len(key) <= KEY_LENGTH or not key.isascii() or not key.isprintable():
            raise invalid_field(IDEMPOTENCY_KEY, f"An {IDEMPOTENCY_KEY} has 1 to {KEY_LENGTH} printable characters.")
        caller: Caller = request.state.caller
        asked = Asked(caller.user, key, await _all_of(request))
        earlier = await aside(farm.repetitions.begin, asked)
        if earlier is not None:
            return Response(earlier.body, earlier.status, {**earlier.headers, REPLAYED: "true"})
        try:
            response = await handler(request)
        except (*_REFUSALS, DBAPIError) as error:
            # Of another error of the database nobody knows whether it came before or after the commit.
            if not isinstance(error, DBAPIError) or is_lost_race(error):
                await aside(farm.repetitions.undone, asked)
            raise
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        body = None if self._shown_once else bytes(response.body).decode()
        await aside(farm.repetitions.answered, asked, Answer(response.status_code, headers, body))
        return response


def _without_a_thread(endpoint: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """The framework would give it a thread of its own, and another to what it returns."""

    @wraps(endpoint)
    async def called(**values: Any) -> Any:
        return endpoint(**values)

    return called


def _only_async(dependant: Dependant) -> bool:
    return all(iscoroutinefunction(each.call) and _only_async(each) for each in dependant.dependencies)


def _carried_out(work: Coroutine[Any, Any, Response]) -> Response:
    """In the present thread, which has no event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        response: Response = end.value
        return response
    work.close()
    raise RuntimeError("a route waits for the event loop in a thread that has none")


_KEY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "required": False,
    "description": "Made by the client, new for each wish. For a day, the same key does nothing again and gives the "
    "answer of the first time.",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LENGTH},
}


async def _all_of(request: Request) -> bytes:
    address = [request.scope["path"].encode("utf-8", "surrogatepass"), request.scope["query_string"]]
    seen = request.headers.get("if-match", "").encode()
    return b"\n".join([*address, seen, await request.body()])


async def _require_readable(request: Request) -> None:
    """Raises InvalidInputError for a body that is not JSON, and for texts that no database or answer can hold."""
    if "\x00" in request.scope["path"] or b"\x00" in unquote_to_bytes(request.scope["query_string"]):
        raise InvalidInputError("The address contains a NUL character.", code="nul_character")
    body = await request.body()
    if not body:
        return
    try:
        value = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("The body is not JSON, or nobody can read it.", code="invalid_json") from error
    if any("\x00" in text for text in _texts(value)):
        raise InvalidInputError("The body contains a NUL character.", code="nul_character")
    if any(_HALF_A_CHARACTER.search(text) for text in _texts(value)):
        raise InvalidInputError("The body contains half of a surrogate pair.", code="lone_surrogate")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _texts(value: Any) -> Iterator[str]:
    """All texts and names inside. Not recursive: the body decides how deep it is."""
    left = [value]
    while left:
        match left.pop():
            case str(text):
                yield text
            case dict(pairs):
                left += [*pairs.keys(), *pairs.values()]
            case list(items):
                left += items
            case _:
                pass
