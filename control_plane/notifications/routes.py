"""HTTP of the mails that a farm without a mail server has recorded."""

from __future__ import annotations

from fastapi import APIRouter, Request

from control_plane.api_route import ApiRoute
from control_plane.errors import NotFoundError
from control_plane.http import FarmDep
from control_plane.notifications.schemas import RecordedMailList, RecordedMailOut
from control_plane.problems import problem_responses

router = APIRouter(tags=["recorded mail"], route_class=ApiRoute)
_SHOWN = 50
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})


@router.get("/recorded-mails", responses=problem_responses(404))
def list_recorded_mails(request: Request, farm: FarmDep) -> RecordedMailList:
    """What would have been sent, the newest first. Only a farm that is tried out on one machine shows it.

    Needs no sign-in, since the link to finish a sign-up is in there. A page of another site that has its name point
    here is turned away by the name.
    """
    post = farm.recorded_post
    if post is None or not farm.settings.show_mail or request.url.hostname not in _THIS_MACHINE:
        raise NotFoundError("This farm shows no mail.", code="no_recorded_mail")
    return RecordedMailList(
        items=[
            RecordedMailOut(
                id=each.id, recipient=each.recipient, subject=each.subject, text=each.text, sent_at=each.sent_at
            )
            for each in post.newest(_SHOWN)
        ]
    )
