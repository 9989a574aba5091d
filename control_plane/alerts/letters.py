"""Alerts as mails: text and HTML, with a link to unsubscribe where they are not about the user's own access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from sqlalchemy.orm import Session

from control_plane.alerts import repository
from control_plane.alerts.model import AlertNotice
from control_plane.alerts.state import ESSENTIAL, AlertEvent, Part
from control_plane.notifications.model import Mail
from control_plane.notifications.port import Letter
from control_plane.notifications.service import Composer, new_link_secret

ALERT, DIGEST = "alert", "alert_digest"
"""Kinds of mails: about one notice, and about many, which went out under one message id. The subject is a delivery,
of a digest its first."""


class AlertLetters:
    def __init__(self, farm_name: str, portal_url: str) -> None:
        self._farm_name = farm_name
        self._portal_url = portal_url

    def composers(self) -> Mapping[str, Composer]:
        return {ALERT: self._alert, DIGEST: self._digest}

    def _alert(self, session: Session, mail: Mail) -> Letter | None:
        delivery = repository.delivery(session, mail.subject_id)
        notice = None if delivery is None else repository.notice(session, delivery.notice_id)
        if delivery is None or notice is None:
            return None
        over = delivery.part == Part.RESOLVED
        subject = f"Over: {notice.title}" if over else notice.title
        return self._letter(mail, subject, [notice], unsubscribable=AlertEvent(notice.event) not in ESSENTIAL)

    def _digest(self, session: Session, mail: Mail) -> Letter | None:
        first = repository.delivery(session, mail.subject_id)
        notices = [] if first is None else repository.notices_of_message(session, first.user_id, first.message_id)
        if not notices:
            return None
        what = "one thing" if len(notices) == 1 else f"{len(notices)} things"
        return self._letter(mail, f"{what} happened", notices, unsubscribable=True)

    def _letter(self, mail: Mail, subject: str, notices: Sequence[AlertNotice], *, unsubscribable: bool) -> Letter:
        settings = f"{self._portal_url}/alerts"
        leave = f"{self._portal_url}/unsubscribe#{new_link_secret(mail)}" if unsubscribable else ""
        text = "\n\n".join([*(_as_text(each) for each in notices), f"All alerts, and which you get: {settings}"])
        html = "".join(_as_html(each) for each in notices)
        html += f'<p style="color:#667"><a href="{escape(settings)}">All alerts, and which you get</a></p>'
        if leave:
            text += f"\n\nNo more mails of this kind: {leave}"
            html += f'<p style="color:#667"><a href="{escape(leave)}">No more mails of this kind</a></p>'
        html = f'<html><body style="font-family:sans-serif;max-width:36rem">{html}</body></html>'
        return Letter(mail.id, mail.recipient, f"{self._farm_name}: {subject}", f"{text}\n", html, leave)


def _as_text(notice: AlertNotice) -> str:
    return f"{_standing(notice)}\n{notice.title}\n{notice.text}"


def _as_html(notice: AlertNotice) -> str:
    return (
        f'<p style="color:#667;margin-bottom:0">{escape(_standing(notice))}</p>'
        f'<h2 style="margin:0.2rem 0">{escape(notice.title)}</h2><p>{escape(notice.text)}</p>'
    )


def _standing(notice: AlertNotice) -> str:
    """When it was, as the one who reads it needs it."""
    words = f"{notice.raised_at:%Y-%m-%d %H:%M} UTC"
    if notice.resolved_at is not None:
        words += f", over since {notice.resolved_at:%Y-%m-%d %H:%M} UTC"
    return words if notice.count == 1 else f"{words}, {notice.count} times"
