"""A letter as an RFC 5322 message."""

from __future__ import annotations

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from control_plane.notifications.port import Letter


def as_message(letter: Letter, sender_name: str, sender: str, now: datetime) -> EmailMessage:
    """The message id is made from the letter's, so that a mail that went twice can be recognised."""
    message = EmailMessage()
    message["Subject"] = letter.subject
    message["From"] = Address(sender_name, addr_spec=sender)
    message["To"] = letter.recipient
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{letter.mail_id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    if letter.unsubscribe:
        message["List-Unsubscribe"] = f"<{letter.unsubscribe}>"
    message.set_content(letter.text)
    if letter.html:
        message.add_alternative(letter.html, subtype="html")
    return message
