"""Write down what users are told, and bring it to where they want it."""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.alerts import repository
from control_plane.alerts.letters import ALERT, DIGEST
from control_plane.alerts.model import AlertDelivery, AlertNotice, AlertPreferences, TelegramChat
from control_plane.alerts.outbound import Outbound, UndeliveredError, UnsafeAddressError
from control_plane.alerts.rules import FOLD, Condition, Dispatch, Wishes, dispatches
from control_plane.alerts.schemas import NoticeOut, SetAlertSettings
from control_plane.alerts.signing import signed_headers
from control_plane.alerts.state import (
    ESSENTIAL,
    URGENT,
    AlertEvent,
    Channel,
    DeliveryState,
    Digest,
    EndpointState,
    Mode,
    Part,
)
from control_plane.alerts.telegram import Incoming, Telegram, TelegramError
from control_plane.alerts.webhooks import Webhooks
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import Database, after_commit
from control_plane.errors import BadRequestError, ConflictError
from control_plane.identity.model import User
from control_plane.identity.owner import Owner
from control_plane.identity.sessions import Browser
from control_plane.ids import new_id
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.notifications import repository as mail_repository
from control_plane.notifications.service import Mails, link_hash
from control_plane.trading.model import Order
from control_plane.trading.outcome import GUARD_MESSAGES
from control_plane.trading.state import OrderState

_PAUSES = tuple(timedelta(seconds=each) for each in (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800))
"""After each failed attempt; after the last one a delivery is dead, 16 hours after the first."""
_GONE = 410
"""The status by which a receiver says that it wants no more, as Standard Webhooks has it."""
_MAIL_LASTS = timedelta(days=7)
_CODE_LASTS = timedelta(minutes=15)
_BATCH = 200
_log = structlog.get_logger(__name__)


def next_pause(attempts: int) -> timedelta | None:
    """How long to wait after so many failed attempts; None when it is to be given up."""
    return _PAUSES[attempts - 1] if attempts <= len(_PAUSES) else None


class Alerts:
    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        mails: Mails,
        webhooks: Webhooks,
        outbound: Outbound,
        telegram: Telegram | None,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._database = database
        self._outbox = outbox
        self._mails = mails
        self._webhooks = webhooks
        self._outbound = outbound
        self.telegram = telegram
        self._bus = bus
        self._clock = clock

    def tell(
        self,
        session: Session,
        owner: Owner,
        event: AlertEvent,
        subject_id: str,
        title: str,
        text: str,
        *,
        key: str,
        account_id: str = "",
    ) -> None:
        """Something happened, once for each `key`. The same about the same subject within ten minutes is counted."""
        if repository.notice_by_key(session, owner.user_id, f"{event}:{key}") is not None:
            return
        now = self._clock.now()
        before = repository.newest_of(session, owner.user_id, event, subject_id)
        if before is not None and not before.lasting and now - before.last_at <= FOLD and event not in ESSENTIAL:
            before.count += 1
            before.last_at = now
            self._announce(session, before)
            return
        condition = Condition(event, subject_id, account_id, title, text)
        self._write(session, owner, condition, f"{event}:{key}", lasting=False)

    def raise_condition(self, session: Session, owner: Owner, condition: Condition, before: str) -> None:
        """It holds from now on. `before` is the id of the last notice of the same key, so that two who see it at once
        write the same thing, of which one fails."""
        self._write(session, owner, condition, f"{condition.event}:{condition.subject_id}:{before}", lasting=True)

    def reopen(self, session: Session, notice: AlertNotice) -> None:
        """It holds again, so soon that nobody is told but in the portal."""
        notice.resolved_at, notice.last_at = None, self._clock.now()
        notice.count += 1
        self._announce(session, notice)

    def resolve(self, session: Session, notice: AlertNotice) -> None:
        """It holds no more; those who were told are told."""
        notice.resolved_at = self._clock.now()
        self._announce(session, notice)
        if notice.count == 1 or notice.event in URGENT:
            self._dispatch(session, notice, Part.RESOLVED)

    def signed_in(self, session: Session, user: User, browser: Browser, session_id: str) -> None:
        """With a browser that was not known."""
        address = browser.address or "an unknown address"
        self.tell(
            session,
            Owner(user.tenant_id, user.id),
            AlertEvent.NEW_SIGN_IN,
            user.id,
            "A new browser signed in",
            f"From {address}. If it was not you, change the password at once and end all sessions.",
            key=session_id,
        )

    def order_changed(self, session: Session, order: Order) -> None:
        """The limits of an account may have refused it."""
        if order.state == OrderState.REFUSED and order.message in GUARD_MESSAGES:
            account = accounts_repository.of_tenant(session, order.tenant_id, order.account_id)
            assert account is not None  # accounts are kept, also when they are removed
            self.tell(
                session,
                Owner(account.tenant_id, account.user_id),
                AlertEvent.GUARD_HIT,
                account.id,
                f"{account.label}: the limits of this account refused an order",
                f"{order.side} {order.volume:g} {order.symbol}: {order.message}",
                key=order.id,
                account_id=account.id,
            )

    def wishes(self, session: Session, user_id: str) -> Wishes:
        return wishes_of(repository.preferences(session, user_id))

    def set_wishes(self, session: Session, owner: Owner, wish: SetAlertSettings) -> None:
        row = repository.preferences(session, owner.user_id)
        if row is None:
            row = AlertPreferences(user_id=owner.user_id, tenant_id=owner.tenant_id, revision=0)
            session.add(row)
        row.modes = {
            str(event): {str(name): str(mode) for name, mode in each.items()} for event, each in wish.modes.items()
        }
        row.time_zone, row.quiet_from, row.quiet_until = wish.time_zone, wish.quiet_from, wish.quiet_until
        row.digest, row.stale_minutes, row.report_minute = wish.digest, wish.stale_minutes, wish.report_minute
        row.drawdown_percent, row.margin_level_percent = wish.drawdown_percent, wish.margin_level_percent
        row.revision += 1
        row.changed_at = self._clock.now()
        session.flush()

    def unsubscribe(self, token: str) -> list[AlertEvent]:
        """Turn off by mail what the mail with this link was about. Raises BadRequestError."""
        now = self._clock.now()
        with self._database.write_as_system() as session:
            hashed = link_hash(token)
            mail = mail_repository.redeemable(session, ALERT, hashed, now) or mail_repository.redeemable(
                session, DIGEST, hashed, now
            )
            delivery = None if mail is None else repository.delivery(session, mail.subject_id)
            if mail is None or delivery is None:
                raise BadRequestError("This link is not valid any more; use the settings.", code="link_not_valid")
            user_id = delivery.user_id
            if mail.kind == ALERT:
                told = repository.notice(session, delivery.notice_id)
                told_events = [] if told is None else [AlertEvent(told.event)]
            else:
                wishes = self.wishes(session, user_id)
                told_events = [each for each in AlertEvent if wishes.mode(each, Channel.EMAIL) is Mode.SILENT]
            events = [each for each in told_events if each not in ESSENTIAL]
            mail.used_at = now
            present = settings_of(self.wishes(session, user_id))
            for event in events:
                present.modes[event][Channel.EMAIL] = Mode.OFF
            self.set_wishes(session, Owner(mail.tenant_id, user_id), present)
        return events

    def new_telegram_code(self, session: Session, owner: Owner) -> tuple[str, datetime]:
        """Raises ConflictError when there is no bot."""
        if self.telegram is None:
            raise ConflictError("This farm has no Telegram bot.", code="no_telegram")
        row = repository.chat(session, owner.user_id)
        if row is None:
            row = TelegramChat(user_id=owner.user_id, tenant_id=owner.tenant_id)
            session.add(row)
        code = secrets.token_urlsafe(12)
        row.code_hash, row.code_expires_at = _hash(code), self._clock.now() + _CODE_LASTS
        return code, row.code_expires_at

    def link_telegram(self, said: Incoming) -> bool:
        """Somebody has written to the bot; whether it was a code that links their chat."""
        code = said.text.removeprefix("/start").strip()
        with self._database.write_as_system() as session:
            row = repository.chat_by_code(session, _hash(code), self._clock.now()) if code else None
            if row is None:
                return False
            row.chat_id, row.linked_at = said.chat_id, self._clock.now()
            row.code_hash = row.code_expires_at = None
        return True

    def unlink_telegram(self, session: Session, owner: Owner) -> None:
        row = repository.chat(session, owner.user_id)
        if row is not None:
            session.delete(row)

    def test_webhook(self, session: Session, owner: Owner, endpoint_id: str) -> AlertDelivery:
        """Send something to a webhook that says it is a test. Raises NotFoundError."""
        endpoint = self._webhooks.require(session, owner, endpoint_id)
        now = self._clock.now()
        body = _body("alert.test", now, {"title": "This is a test of your webhook."})
        dispatch = Dispatch(Channel.WEBHOOK, False, now)
        return self._put(session, owner, dispatch, "", Part.TEST, body, endpoint.id)

    def replay(self, session: Session, owner: Owner, endpoint_id: str, delivery_id: str) -> AlertDelivery:
        """Send a delivery once more, under the same message id. Raises NotFoundError."""
        old = self._webhooks.require_delivery(session, owner, endpoint_id, delivery_id)
        dispatch = Dispatch(Channel.WEBHOOK, old.silent, self._clock.now())
        return self._put(session, owner, dispatch, old.notice_id, Part(old.part), old.body, endpoint_id, old.message_id)

    def deliver(self, delivery_id: str) -> None:
        """The job. What fails is due again later; what was sent and not written down is sent again, under its id."""
        with self._database.write_as_system() as session:
            row = repository.delivery(session, delivery_id)
            if row is None or row.state != DeliveryState.PENDING:
                return
            row.attempts += 1
            if row.channel == Channel.EMAIL:
                user = repository.user(session, row.user_id)
                if user is not None:
                    self._mails.put(session, row.tenant_id, ALERT, user.email, row.id, _MAIL_LASTS)
                self._finish(row, DeliveryState.DELIVERED)
                return
        if row.channel == Channel.WEBHOOK:
            self._post(row)
        else:
            self._say(row)

    def hand_over(self) -> None:
        """The deliveries and digests whose time has come."""
        now = self._clock.now()
        with self._database.read_as_system() as session:
            waiting = repository.has_due_delivery(session, now)
            digests = repository.users_with_due_digest(session, now)
        if waiting:
            with self._database.write_as_system() as session:
                for row in repository.due_deliveries(session, now, _BATCH):
                    row.handed_over = True
                    self._outbox.put(session, JobKind.DELIVER_ALERT, row.id)
        for user_id in digests:
            try:
                self._send_digest(user_id, now)
            except Exception:  # noqa: BLE001 - one user's digest must not keep everybody else from being told
                _log.exception("digest_failed", user=user_id)

    def _send_digest(self, user_id: str, now: datetime) -> None:
        with self._database.write_as_system() as session:
            user = repository.user(session, user_id)
            rows = repository.digest_of(session, user_id, now, _BATCH)
            message_id, wishes = new_id("msg"), self.wishes(session, user_id)
            wanted = []
            for row in rows:
                told = repository.notice(session, row.notice_id)
                if told is None or wishes.mode(AlertEvent(told.event), Channel.EMAIL) is Mode.OFF:
                    row.error = "It is not wanted by mail any more."
                    self._finish(row, DeliveryState.DEAD)
                    continue
                row.message_id = message_id
                wanted.append(row)
                self._finish(row, DeliveryState.DELIVERED)
            if wanted and user is not None:
                self._mails.put(session, user.tenant_id, DIGEST, user.email, wanted[0].id, _MAIL_LASTS)

    def _write(self, session: Session, owner: Owner, condition: Condition, key: str, *, lasting: bool) -> None:
        now = self._clock.now()
        wishes = self.wishes(session, owner.user_id)
        in_portal = wishes.mode(condition.event, Channel.PORTAL)
        notice = AlertNotice(
            id=new_id("ntc"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            event=condition.event,
            subject_id=condition.subject_id,
            account_id=condition.account_id,
            key=key,
            title=condition.title[:160],
            text=condition.text[:1000],
            lasting=lasting,
            count=1,
            raised_at=now,
            last_at=now,
            # Kept in any case, as the memory of what was told; what is not wanted there counts as read.
            read_at=None if in_portal is Mode.ON else now,
        )
        session.add(notice)
        session.flush()
        self._announce(session, notice)
        self._dispatch(session, notice, Part.RAISED, wishes)

    def _dispatch(self, session: Session, notice: AlertNotice, part: Part, wishes: Wishes | None = None) -> None:
        owner = Owner(notice.tenant_id, notice.user_id)
        now = self._clock.now()
        for each in dispatches(AlertEvent(notice.event), wishes or self.wishes(session, owner.user_id), now):
            if part is Part.RESOLVED and each.digest:
                continue  # the digest tells of it as it is when it goes
            if each.channel is Channel.WEBHOOK:
                body = _body(f"alert.{notice.event}.{part}", now, _facts(notice, silent=each.silent))
                for endpoint in repository.active_endpoints(session, owner.user_id):
                    self._put(session, owner, each, notice.id, part, body, endpoint.id)
            elif each.channel is Channel.EMAIL:
                self._put(session, owner, each, notice.id, part, "", None)
            elif self.telegram is not None:
                chat = repository.chat(session, owner.user_id)
                if chat is not None and chat.chat_id is not None:
                    self._put(session, owner, each, notice.id, part, "", None)

    def _put(
        self,
        session: Session,
        owner: Owner,
        dispatch: Dispatch,
        notice_id: str,
        part: Part,
        body: str,
        endpoint_id: str | None,
        message_id: str = "",
    ) -> AlertDelivery:
        now = self._clock.now()
        at_once = dispatch.due_at <= now and not dispatch.digest
        row = AlertDelivery(
            id=new_id("dlv"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            notice_id=notice_id,
            channel=dispatch.channel,
            part=part,
            silent=dispatch.silent,
            endpoint_id=endpoint_id,
            message_id=message_id or new_id("msg"),
            body=body,
            state=DeliveryState.DIGEST if dispatch.digest else DeliveryState.PENDING,
            attempts=0,
            handed_over=at_once,
            due_at=dispatch.due_at,
            error="",
            created_at=now,
        )
        session.add(row)
        session.flush()
        if at_once:
            self._outbox.put(session, JobKind.DELIVER_ALERT, row.id)
        return row

    def _post(self, row: AlertDelivery) -> None:
        with self._database.write_as_system() as session:
            found = self._webhooks.to_sign(session, row)
        if found is None:
            self._failed(row.id, "The webhook was removed or disabled.", final=True)
            return
        url, keys = found
        body = row.body.encode()
        try:
            answer = self._outbound.post(url, signed_headers(keys, row.message_id, self._clock.now(), body), body)
        except UnsafeAddressError as error:
            self._failed(row.id, str(error))
        except UndeliveredError as error:
            self._failed(row.id, str(error), error.status, error.milliseconds)
        else:
            self._delivered(row.id, answer.status, answer.milliseconds)

    def _say(self, row: AlertDelivery) -> None:
        with self._database.read_as_system() as session:
            chat, notice = repository.chat(session, row.user_id), repository.notice(session, row.notice_id)
        if self.telegram is None or chat is None or chat.chat_id is None or notice is None:
            self._failed(row.id, "The chat is not linked any more.", final=True)
            return
        over = "Over: " if row.part == Part.RESOLVED else ""
        try:
            self.telegram.send(chat.chat_id, f"{over}{notice.title}\n{notice.text}", silent=row.silent)
        except TelegramError as error:
            self._failed(row.id, str(error), final=error.gone)
        else:
            self._delivered(row.id)

    def _delivered(self, delivery_id: str, status: int | None = None, took: int | None = None) -> None:
        with self._database.write_as_system() as session:
            row = repository.delivery(session, delivery_id)
            if row is not None and row.state == DeliveryState.PENDING:
                row.status_code, row.milliseconds, row.error = status, took, ""
                self._finish(row, DeliveryState.DELIVERED)

    def _failed(
        self,
        delivery_id: str,
        error: str,
        status: int | None = None,
        took: int | None = None,
        *,
        final: bool = False,
    ) -> None:
        with self._database.write_as_system() as session:
            row = repository.delivery(session, delivery_id)
            if row is None or row.state != DeliveryState.PENDING:
                return
            row.error, row.status_code, row.milliseconds = error[:200], status, took
            gone = status == _GONE
            pause = None if final or gone or row.part == Part.TEST else next_pause(row.attempts)
            if pause is not None:
                row.due_at, row.handed_over = self._clock.now() + pause, False
                return
            self._finish(row, DeliveryState.DEAD)
            _log.warning("alert_delivery_dead", delivery=row.id, channel=row.channel, attempts=row.attempts)
            if row.endpoint_id is not None and row.part != Part.TEST and not final:
                self._disable(session, row, gone=gone)

    def _disable(self, session: Session, row: AlertDelivery, *, gone: bool) -> None:
        """Nothing could be delivered since the delivery that is given up was made, or the receiver wants no more."""
        if not gone and repository.was_delivered_since(session, row.endpoint_id or "", row.created_at):
            return
        owner = Owner(row.tenant_id, row.user_id)
        endpoint = repository.endpoint(session, owner, row.endpoint_id or "")
        if endpoint is None or endpoint.state == EndpointState.DISABLED:
            return
        endpoint.state, endpoint.disabled_reason = EndpointState.DISABLED, row.error
        endpoint.revision += 1
        self.tell(
            session,
            owner,
            AlertEvent.WEBHOOK_DISABLED,
            endpoint.id,
            "A webhook was disabled",
            f"Nothing {'more is taken at' if gone else 'could be delivered for many hours to'} {endpoint.url}. "
            f"{row.error} Mend it and enable it again.",
            key=row.id,
        )

    def _finish(self, row: AlertDelivery, state: DeliveryState) -> None:
        row.state, row.finished_at = state, self._clock.now()

    def _announce(self, session: Session, notice: AlertNotice) -> None:
        change = Change(Topic.NOTICE, notice.id, notice.user_id, notice.account_id)
        after_commit(session, lambda: self._bus.publish(change))


def wishes_of(row: AlertPreferences | None) -> Wishes:
    if row is None:
        return Wishes()
    return Wishes(
        modes=row.modes,
        time_zone=row.time_zone,
        quiet_from=row.quiet_from,
        quiet_until=row.quiet_until,
        digest=Digest(row.digest),
        stale_after=timedelta(minutes=row.stale_minutes),
        drawdown_percent=Decimal(str(row.drawdown_percent)),
        margin_level_percent=Decimal(str(row.margin_level_percent)),
        report_minute=row.report_minute,
    )


def settings_of(wishes: Wishes) -> SetAlertSettings:
    """The whole matrix, defaults included."""
    return SetAlertSettings(
        modes={event: {channel: wishes.mode(event, channel) for channel in Channel} for event in AlertEvent},
        time_zone=wishes.time_zone,
        quiet_from=wishes.quiet_from,
        quiet_until=wishes.quiet_until,
        digest=wishes.digest,
        stale_minutes=int(wishes.stale_after.total_seconds() // 60),
        drawdown_percent=float(wishes.drawdown_percent),
        margin_level_percent=float(wishes.margin_level_percent),
        report_minute=wishes.report_minute,
    )


def present_notice(row: AlertNotice) -> NoticeOut:
    event = AlertEvent(row.event)
    return NoticeOut(
        id=row.id,
        event=event,
        subject_id=row.subject_id,
        account_id=row.account_id or None,
        title=row.title,
        text=row.text,
        urgent=event in URGENT,
        lasting=row.lasting,
        count=row.count,
        raised_at=row.raised_at,
        last_at=row.last_at,
        resolved_at=row.resolved_at,
        read_at=row.read_at,
    )


def _facts(notice: AlertNotice, *, silent: bool) -> dict[str, object]:
    shown = present_notice(notice).model_dump(mode="json", exclude={"read_at"})
    return {**shown, "silent": silent}


def _body(kind: str, at: datetime, data: dict[str, object]) -> str:
    return json.dumps({"type": kind, "timestamp": at.isoformat(), "data": data}, separators=(",", ":"))


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
