"""Bodies of alerts."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints, model_validator

from control_plane.alerts.state import (
    AlertEvent,
    Channel,
    DeliveryState,
    Digest,
    EndpointState,
    Mode,
    Part,
    ThresholdKind,
)
from control_plane.idempotency.schemas import ShownOnce

Minute = Annotated[int, Field(ge=0, lt=1440, description="Minutes after midnight in the time zone.")]
Percent = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
Url = Annotated[str, StringConstraints(min_length=8, max_length=500)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=120)]
Figure = Annotated[Decimal, Field(gt=0, lt=Decimal(10) ** 10, decimal_places=8)]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("there is no such time zone; names look like Europe/Berlin")
    return name


TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]


class NoticeOut(BaseModel):
    id: str
    event: AlertEvent
    subject_id: str
    account_id: str | None
    title: str
    text: str
    urgent: bool
    lasting: bool
    """Whether it holds for a while; `resolved_at` says when it has ended."""
    count: int
    raised_at: datetime
    last_at: datetime
    resolved_at: datetime | None
    read_at: datetime | None


class NoticePage(BaseModel):
    items: list[NoticeOut]
    next_cursor: str | None
    unread: int


class NoticeEvent(BaseModel):
    """Of the stream of live updates."""

    notice: NoticeOut
    unread: int


class MarkRead(BaseModel):
    up_to: Annotated[str, StringConstraints(max_length=40)] | None = None
    """Id of the newest notice that was seen; None for all."""


class SetAlertSettings(BaseModel):
    modes: dict[AlertEvent, dict[Channel, Mode]]
    time_zone: TimeZone = "UTC"
    quiet_from: Minute | None = None
    quiet_until: Minute | None = None
    digest: Digest = Digest.DAILY
    stale_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 5
    drawdown_percent: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 20.0
    margin_level_percent: Percent = 150.0
    report_minute: Minute = 420

    @model_validator(mode="after")
    def _quiet_hours_are_whole(self) -> SetAlertSettings:
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise ValueError("quiet_from and quiet_until belong together")
        return self


class AlertSettingsOut(SetAlertSettings):
    urgent: list[AlertEvent]
    """Told in quiet hours as well."""
    telegram_available: bool
    """Whether the operator has set a bot up."""


class Unsubscribe(BaseModel):
    token: Annotated[SecretStr, Field(min_length=10, max_length=100)]


class Unsubscribed(BaseModel):
    events: list[AlertEvent]
    """What is not sent by mail any more."""


class AddWebhook(BaseModel):
    url: Url
    description: Words = ""


class ChangeWebhook(BaseModel):
    url: Url
    description: Words = ""
    state: EndpointState = EndpointState.ACTIVE


class WebhookOut(BaseModel):
    id: str
    url: str
    description: str
    state: EndpointState
    disabled_reason: str
    created_at: datetime


class WebhookList(BaseModel):
    items: list[WebhookOut]


class WebhookWithSecret(WebhookOut, ShownOnce):
    secret: str
    """Verifies the signatures of deliveries; shown once."""


class DeliveryOut(BaseModel):
    id: str
    message_id: str
    notice_id: str | None
    part: Part
    state: DeliveryState
    attempts: int
    due_at: datetime
    status_code: int | None
    error: str
    milliseconds: int | None
    created_at: datetime
    finished_at: datetime | None


class AddThreshold(BaseModel):
    account_id: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    kind: ThresholdKind
    symbol: Annotated[str, StringConstraints(strip_whitespace=True, max_length=32)] = ""
    value: Figure
    note: Words = ""

    @model_validator(mode="after")
    def _price_has_symbol(self) -> AddThreshold:
        about_price = self.kind in {ThresholdKind.PRICE_ABOVE, ThresholdKind.PRICE_BELOW}
        if about_price != bool(self.symbol):
            raise ValueError("a limit of a price needs a symbol, and no other has one")
        return self


class ThresholdOut(BaseModel):
    id: str
    account_id: str
    kind: ThresholdKind
    symbol: str
    value: str
    note: str
    created_at: datetime


class ThresholdList(BaseModel):
    items: list[ThresholdOut]


class TelegramOut(BaseModel):
    available: bool
    linked_at: datetime | None


class TelegramCode(ShownOnce):
    code: str
    """To be sent to the bot as `/start CODE`; works once."""
    expires_at: datetime
