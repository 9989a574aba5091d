"""What answers say about being repeated."""

from __future__ import annotations

from pydantic import BaseModel


class ShownOnce(BaseModel):
    """Base of answers with a secret that the farm does not keep: a repetition of the request is not told it again."""
