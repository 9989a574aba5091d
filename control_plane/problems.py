"""RFC 9457 problem details: the body of every error answer, and how errors become one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from control_plane.db.races import is_lost_race
from control_plane.errors import (
    BadRequestError,
    ConflictError,
    FarmError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    PreconditionFailedError,
    PreconditionRequiredError,
    TooLargeError,
    TooManyRequestsError,
    UnauthorisedError,
    UnavailableError,
    UnsupportedMediaError,
)

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger(__name__)
_DOCUMENTED = (
    BadRequestError,
    UnauthorisedError,
    ForbiddenError,
    NotFoundError,
    ConflictError,
    PreconditionFailedError,
    TooLargeError,
    UnsupportedMediaError,
    InvalidInputError,
    PreconditionRequiredError,
    TooManyRequestsError,
    UnavailableError,
)


class ProblemField(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong, for programs (`code`) and for people (`detail`)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    """True when the same request may succeed later."""
    errors: list[ProblemField] | None = None


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the errors a route can answer."""
    titles = {error.status: error.title for error in _DOCUMENTED}
    return {
        status: {"description": titles[status], "content": {MEDIA_TYPE: {"schema": {"$ref": _SCHEMA_REF}}}}
        for status in statuses
    }


_SCHEMA_REF = "#/components/schemas/Problem"


def problem_response(error: FarmError) -> JSONResponse:
    body = Problem(
        type=f"urn:mt5farm:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        retryable=error.retryable,
        errors=[ProblemField(field=each.field, message=each.message) for each in error.errors] or None,
    )
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse(body.model_dump(exclude_none=True), error.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem, also those of the framework and the unforeseen."""
    app.add_exception_handler(FarmError, _farm_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(DBAPIError, _database_error)
    app.add_exception_handler(Exception, _unforeseen)


def _farm_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FarmError)
    return problem_response(error)


def _validation_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fields = [FieldError(_field_name(each["loc"]), str(each["msg"])) for each in error.errors()]
    detail = "; ".join(f"{each.field}: {each.message}" if each.field else each.message for each in fields[:3])
    return problem_response(InvalidInputError(detail, errors=fields))


def _field_name(location: tuple[str | int, ...]) -> str:
    name = ".".join(str(part) for part in location if part not in {"body", "query", "path", "header"})
    # A name that the caller made up may hold half a surrogate pair, which no answer can.
    return name.encode("utf-8", "replace").decode()


def _http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    body = Problem(
        type="about:blank",
        title=phrase,
        status=error.status_code,
        detail=str(error.detail),
        code=phrase.lower().replace(" ", "_"),
        retryable=False,
    )
    headers = dict(error.headers) if error.headers else None
    return JSONResponse(body.model_dump(exclude_none=True), error.status_code, headers, MEDIA_TYPE)


def _database_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DBAPIError)
    if not is_lost_race(error):
        return _unforeseen(request, error)
    _log.info("race_lost", error=type(error.orig).__name__)
    return problem_response(
        UnavailableError(
            "Something else changed the same thing at the same moment; please try again.",
            code="changed_meanwhile",
            retryable=True,
            retry_after=1,
        )
    )


def _unforeseen(_request: Request, error: Exception) -> JSONResponse:
    _log.error("request_failed", error=type(error).__name__, exc_info=error)
    return problem_response(FarmError("The farm made a mistake; it has been written to the log.", retryable=True))
