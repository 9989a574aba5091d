"""Bodies of recorded mails."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class RecordedMailOut(BaseModel):
    id: str
    recipient: str
    subject: str
    text: str
    sent_at: datetime


class RecordedMailList(BaseModel):
    items: list[RecordedMailOut]
