"""All errors that the farm shows to callers, as one tree.

Each has a stable code, an HTTP status, whether trying again can help, and a text that is safe to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ConfigurationError(Exception):
    """The farm cannot start as configured. The text says what to do; the command exits with code 2."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request body."""

    field: str
    message: str


class FarmError(Exception):
    """Root of the tree. `detail` is shown to the caller as it is."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "The farm made a mistake"
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str = "",
        retryable: bool = False,
        errors: Sequence[FieldError] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.retryable = retryable
        self.errors = tuple(errors)
        self.retry_after = retry_after
        """Seconds after which trying again makes sense."""


class BadRequestError(FarmError):
    status = 400
    title = "The request cannot be read"
    default_code = "bad_request"


class UnauthorisedError(FarmError):
    status = 401
    title = "Please sign in"
    default_code = "not_signed_in"


class ForbiddenError(FarmError):
    status = 403
    title = "This is not allowed"
    default_code = "forbidden"


class NotFoundError(FarmError):
    status = 404
    title = "There is no such thing"
    default_code = "not_found"


class ConflictError(FarmError):
    status = 409
    title = "This does not fit the present state"
    default_code = "conflict"


class PreconditionFailedError(FarmError):
    status = 412
    title = "This was changed meanwhile"
    default_code = "precondition_failed"


class TooLargeError(FarmError):
    status = 413
    title = "The request is too large"
    default_code = "body_too_large"


class UnsupportedMediaError(FarmError):
    status = 415
    title = "The body must be JSON"
    default_code = "unsupported_media_type"


class InvalidInputError(FarmError):
    status = 422
    title = "Some input is not valid"
    default_code = "invalid_input"


class PreconditionRequiredError(FarmError):
    status = 428
    title = "Say what you have seen"
    default_code = "precondition_required"


class TooManyRequestsError(FarmError):
    status = 429
    title = "Too many attempts"
    default_code = "too_many_attempts"


class RateLimitedError(TooManyRequestsError):
    title = "Too many requests"
    default_code = "rate_limited"


class UnavailableError(FarmError):
    status = 503
    title = "The farm cannot do this right now"
    default_code = "unavailable"


def invalid_field(field: str, message: str, *, code: str = "") -> InvalidInputError:
    """The error for one wrong field."""
    return InvalidInputError(message, code=code, errors=[FieldError(field, message)])
