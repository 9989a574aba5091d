"""Mail that stays on this machine: a file for each, for a farm that has no mail server."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime
from email import policy
from email.parser import BytesParser
from email.utils import parsedate_to_datetime
from pathlib import Path

from control_plane.clock import Clock
from control_plane.notifications.message import as_message
from control_plane.notifications.port import Letter, PostError

_KEPT = 200
_SENDER = "farm@localhost"


@dataclass(frozen=True)
class RecordedMail:
    id: str
    recipient: str
    subject: str
    text: str = field(repr=False)
    sent_at: datetime


class RecordedPost:
    """Writes mails into a folder that only its owner can read, and keeps the newest 200."""

    def __init__(self, folder: Path, farm_name: str, clock: Clock) -> None:
        self._folder = folder
        self._farm_name = farm_name
        self._clock = clock

    def send(self, letter: Letter) -> None:
        message = as_message(letter, self._farm_name, _SENDER, self._clock.now())
        file = self._folder / f"{letter.mail_id}.eml"
        draft = file.with_suffix(".part")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(message.as_bytes(policy=policy.SMTP))
            draft.replace(file)
            for old in self._files()[_KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise PostError(f"the mail cannot be written: {error.strerror}") from error

    def newest(self, limit: int) -> list[RecordedMail]:
        """The newest first."""
        return [_read(file) for file in self._files()[:limit]]

    def _files(self) -> list[Path]:
        """Names begin with the time they were made."""
        return sorted(self._folder.glob("*.eml"), reverse=True)


def _read(file: Path) -> RecordedMail:
    message = BytesParser(policy=policy.default).parsebytes(file.read_bytes())
    body = message.get_body(("plain",))
    return RecordedMail(
        id=file.stem,
        recipient=str(message["To"]),
        subject=str(message["Subject"]),
        text=body.get_content().replace("\r\n", "\n") if body is not None else "",
        sent_at=parsedate_to_datetime(str(message["Date"])),
    )
