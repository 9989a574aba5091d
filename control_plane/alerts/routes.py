"""HTTP of alerts: what happened, what one wants to be told, and webhooks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from control_plane.accounts.service import require_account
from control_plane.alerts import repository
from control_plane.alerts.model import AlertDelivery, AlertThreshold, WebhookEndpoint
from control_plane.alerts.schemas import (
    AddThreshold,
    AddWebhook,
    AlertSettingsOut,
    ChangeWebhook,
    DeliveryOut,
    MarkRead,
    NoticePage,
    SetAlertSettings,
    TelegramCode,
    TelegramOut,
    ThresholdList,
    ThresholdOut,
    Unsubscribe,
    Unsubscribed,
    WebhookList,
    WebhookOut,
    WebhookWithSecret,
)
from control_plane.alerts.service import present_notice, settings_of
from control_plane.alerts.state import (
    URGENT,
    AlertEvent,
    DeliveryState,
    EndpointState,
    Part,
    ThresholdKind,
)
from control_plane.alerts.webhooks import webhook_tag
from control_plane.api_route import ApiRoute
from control_plane.errors import ConflictError, NotFoundError
from control_plane.http import FarmDep, OwnerDep
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.money import money_text
from control_plane.paging import Cursor, Limit, Page, decode_cursor, decode_moment, encode_cursor, split_page
from control_plane.preconditions import TAGGED, IfMatch, entity_tag, require_match
from control_plane.problems import problem_responses

router = APIRouter(tags=["alerts"], route_class=ApiRoute)
_MOST_THRESHOLDS = 100
_WEBHOOK = "/webhooks/{webhook_id}"


@router.get("/alerts", responses=problem_responses(401, 422))
def list_alerts(
    farm: FarmDep,
    owner: OwnerDep,
    unread: Annotated[bool, Query(description="Only what has not been read.")] = False,
    event: AlertEvent | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> NoticePage:
    """What happened, the newest first."""
    keys = decode_cursor(cursor, str, str)
    before = (decode_moment(keys[0]), str(keys[1])) if keys else None
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.notices(session, owner, unread=unread, event=event, before=before, limit=limit + 1)
        count = repository.count_unread(session, owner)
    page, last = split_page(rows, limit)
    following = encode_cursor(last.raised_at.isoformat(), last.id) if last else None
    return NoticePage(items=[present_notice(each) for each in page], next_cursor=following, unread=count)


@router.post("/alerts/read", status_code=204, responses=problem_responses(401, 403, 415, 422))
def mark_alerts_read(wish: MarkRead, farm: FarmDep, owner: OwnerDep) -> None:
    with farm.database.write(owner.tenant_id) as session:
        repository.mark_read(session, owner, wish.up_to, farm.clock.now())


@router.get("/alerts/settings", responses={**problem_responses(401), **TAGGED})
def get_alert_settings(farm: FarmDep, owner: OwnerDep, response: Response) -> AlertSettingsOut:
    """What one is told where, with the defaults for what was never set."""
    response.headers["ETag"] = _settings_tag(farm, owner)
    return _settings(farm, owner)


@router.put("/alerts/settings", responses={**problem_responses(401, 403, 412, 415, 422), **TAGGED})
def set_alert_settings(
    wish: SetAlertSettings, farm: FarmDep, owner: OwnerDep, response: Response, if_match: IfMatch = None
) -> AlertSettingsOut:
    with farm.database.write(owner.tenant_id) as session:
        row = repository.preferences(session, owner.user_id)
        require_match(if_match, entity_tag(owner.user_id, row.revision if row else 0))
        farm.alerts.set_wishes(session, owner, wish)
    response.headers["ETag"] = _settings_tag(farm, owner)
    return _settings(farm, owner)


@router.post("/alerts/unsubscribe", responses=problem_responses(400, 403, 415, 422))
def unsubscribe_from_mails(wish: Unsubscribe, farm: FarmDep) -> Unsubscribed:
    """With the link of a mail; needs no sign-in."""
    return Unsubscribed(events=farm.alerts.unsubscribe(wish.token.get_secret_value()))


@router.get("/alerts/thresholds", responses=problem_responses(401))
def list_thresholds(farm: FarmDep, owner: OwnerDep) -> ThresholdList:
    """One's own limits of prices, equity, margin level and drawdown."""
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.thresholds(session, owner)
    return ThresholdList(items=[_present_threshold(row) for row in rows])


@router.post("/alerts/thresholds", status_code=201, responses=problem_responses(401, 403, 404, 409, 415, 422))
def add_threshold(wish: AddThreshold, farm: FarmDep, owner: OwnerDep) -> ThresholdOut:
    with farm.database.write(owner.tenant_id) as session:
        require_account(session, owner, wish.account_id)
        if len(repository.thresholds(session, owner)) >= _MOST_THRESHOLDS:
            raise ConflictError(f"There may be {_MOST_THRESHOLDS} limits; remove one.", code="too_many_thresholds")
        row = AlertThreshold(
            id=new_id("thr"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            account_id=wish.account_id,
            kind=wish.kind,
            symbol=wish.symbol,
            value=wish.value,
            note=wish.note,
            created_at=farm.clock.now(),
        )
        session.add(row)
    return _present_threshold(row)


@router.delete("/alerts/thresholds/{threshold_id}", status_code=204, responses=problem_responses(401, 403, 404))
def remove_threshold(threshold_id: str, farm: FarmDep, owner: OwnerDep) -> None:
    with farm.database.write(owner.tenant_id) as session:
        row = repository.threshold(session, owner, threshold_id)
        if row is None:
            raise NotFoundError("There is no such limit.", code="threshold_not_found")
        session.delete(row)


@router.get("/alerts/telegram", responses=problem_responses(401))
def get_telegram(farm: FarmDep, owner: OwnerDep) -> TelegramOut:
    with farm.database.read(owner.tenant_id) as session:
        row = repository.chat(session, owner.user_id)
    return TelegramOut(available=farm.alerts.telegram is not None, linked_at=row.linked_at if row else None)


@router.post("/alerts/telegram", status_code=201, responses=problem_responses(401, 403, 409))
def link_telegram(farm: FarmDep, owner: OwnerDep) -> TelegramCode:
    """A code to send to the farm's bot, which links the chat that it comes from."""
    with farm.database.write(owner.tenant_id) as session:
        code, expires_at = farm.alerts.new_telegram_code(session, owner)
    return TelegramCode(code=code, expires_at=expires_at)


@router.delete("/alerts/telegram", status_code=204, responses=problem_responses(401, 403))
def unlink_telegram(farm: FarmDep, owner: OwnerDep) -> None:
    with farm.database.write(owner.tenant_id) as session:
        farm.alerts.unlink_telegram(session, owner)


@router.get("/webhooks", responses=problem_responses(401))
def list_webhooks(farm: FarmDep, owner: OwnerDep) -> WebhookList:
    with farm.database.read(owner.tenant_id) as session:
        rows = repository.endpoints(session, owner)
    return WebhookList(items=[_present_webhook(row) for row in rows])


@router.post("/webhooks", status_code=201, responses=problem_responses(401, 403, 409, 415, 422))
def add_webhook(wish: AddWebhook, farm: FarmDep, owner: OwnerDep) -> WebhookWithSecret:
    """Have alerts posted to an address, signed as Standard Webhooks has it. The secret is shown this once."""
    with farm.database.write(owner.tenant_id) as session:
        row, secret = farm.webhooks.add(session, owner, wish)
    return WebhookWithSecret(**_present_webhook(row).model_dump(), secret=secret)


@router.get(_WEBHOOK, responses={**problem_responses(401, 404), **TAGGED})
def get_webhook(webhook_id: str, farm: FarmDep, owner: OwnerDep, response: Response) -> WebhookOut:
    with farm.database.read(owner.tenant_id) as session:
        row = farm.webhooks.require(session, owner, webhook_id, hold=False)
    response.headers["ETag"] = webhook_tag(row)
    return _present_webhook(row)


@router.put(_WEBHOOK, responses={**problem_responses(401, 403, 404, 412, 415, 422), **TAGGED})
def change_webhook(
    webhook_id: str,
    wish: ChangeWebhook,
    farm: FarmDep,
    owner: OwnerDep,
    response: Response,
    if_match: IfMatch = None,
) -> WebhookOut:
    """Change its address, or disable and enable it."""
    with farm.database.write(owner.tenant_id) as session:
        require_match(if_match, webhook_tag(farm.webhooks.require(session, owner, webhook_id)))
        row = farm.webhooks.change(session, owner, webhook_id, wish)
    response.headers["ETag"] = webhook_tag(row)
    return _present_webhook(row)


@router.delete(_WEBHOOK, status_code=204, responses=problem_responses(401, 403, 404))
def remove_webhook(webhook_id: str, farm: FarmDep, owner: OwnerDep) -> None:
    with farm.database.write(owner.tenant_id) as session:
        farm.webhooks.remove(session, owner, webhook_id)


@router.post(f"{_WEBHOOK}/rotate-secret", responses=problem_responses(401, 403, 404))
def rotate_webhook_secret(webhook_id: str, farm: FarmDep, owner: OwnerDep) -> WebhookWithSecret:
    """A new secret. For a day deliveries carry the signatures of both."""
    with farm.database.write(owner.tenant_id) as session:
        row, secret = farm.webhooks.rotate(session, owner, webhook_id)
    return WebhookWithSecret(**_present_webhook(row).model_dump(), secret=secret)


@router.post(f"{_WEBHOOK}/test", status_code=202, responses=problem_responses(401, 403, 404))
def test_webhook(webhook_id: str, farm: FarmDep, owner: OwnerDep) -> DeliveryOut:
    """Send something that says it is a test; its delivery tells how it went."""
    with farm.database.write(owner.tenant_id) as session:
        row = farm.alerts.test_webhook(session, owner, webhook_id)
    return _present_delivery(row)


@router.get(f"{_WEBHOOK}/deliveries", responses=problem_responses(401, 404, 422))
def list_webhook_deliveries(
    webhook_id: str, farm: FarmDep, owner: OwnerDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[DeliveryOut]:
    """The newest first. Kept for 30 days."""
    keys = decode_cursor(cursor, str)
    with farm.database.read(owner.tenant_id) as session:
        farm.webhooks.require(session, owner, webhook_id, hold=False)
        page, last = split_page(repository.deliveries(session, webhook_id, keys[0] if keys else None, limit + 1), limit)
    return Page(items=[_present_delivery(row) for row in page], next_cursor=encode_cursor(last.id) if last else None)


@router.post(
    f"{_WEBHOOK}/deliveries/{{delivery_id}}/replay", status_code=202, responses=problem_responses(401, 403, 404)
)
def replay_delivery(webhook_id: str, delivery_id: str, farm: FarmDep, owner: OwnerDep) -> DeliveryOut:
    """Send it once more, with the same message id."""
    with farm.database.write(owner.tenant_id) as session:
        row = farm.alerts.replay(session, owner, webhook_id, delivery_id)
    return _present_delivery(row)


def _settings(farm: FarmDep, owner: Owner) -> AlertSettingsOut:
    with farm.database.read(owner.tenant_id) as session:
        wishes = farm.alerts.wishes(session, owner.user_id)
    return AlertSettingsOut(
        **settings_of(wishes).model_dump(), urgent=sorted(URGENT), telegram_available=farm.alerts.telegram is not None
    )


def _settings_tag(farm: FarmDep, owner: Owner) -> str:
    with farm.database.read(owner.tenant_id) as session:
        row = repository.preferences(session, owner.user_id)
    return entity_tag(owner.user_id, row.revision if row else 0)


def _present_threshold(row: AlertThreshold) -> ThresholdOut:
    return ThresholdOut(
        id=row.id,
        account_id=row.account_id,
        kind=ThresholdKind(row.kind),
        symbol=row.symbol,
        value=money_text(row.value),
        note=row.note,
        created_at=row.created_at,
    )


def _present_webhook(row: WebhookEndpoint) -> WebhookOut:
    return WebhookOut(
        id=row.id,
        url=row.url,
        description=row.description,
        state=EndpointState(row.state),
        disabled_reason=row.disabled_reason,
        created_at=row.created_at,
    )


def _present_delivery(row: AlertDelivery) -> DeliveryOut:
    return DeliveryOut(
        id=row.id,
        message_id=row.message_id,
        notice_id=row.notice_id or None,
        part=Part(row.part),
        state=DeliveryState(row.state),
        attempts=row.attempts,
        due_at=row.due_at,
        status_code=row.status_code,
        error=row.error,
        milliseconds=row.milliseconds,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
