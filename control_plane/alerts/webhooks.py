"""Webhooks of users: their addresses and the secrets that sign what is sent there."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.orm import Session

from control_plane.alerts import repository
from control_plane.alerts.model import AlertDelivery, WebhookEndpoint, WebhookSecret
from control_plane.alerts.outbound import Outbound, UnsafeAddressError
from control_plane.alerts.schemas import AddWebhook, ChangeWebhook
from control_plane.alerts.signing import new_secret
from control_plane.alerts.state import EndpointState
from control_plane.audit.service import Audit, Deed
from control_plane.clock import Clock
from control_plane.errors import ConflictError, NotFoundError, invalid_field
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.preconditions import entity_tag
from control_plane.vault.repository import SealedColumn
from control_plane.vault.service import Sealed, Vault, tenant_place

_MOST_ENDPOINTS = 10
_BOTH_SIGN = timedelta(days=1)


class Webhooks:
    def __init__(self, vault: Vault, outbound: Outbound, audit: Audit, clock: Clock) -> None:
        self._vault = vault
        self._outbound = outbound
        self._audit = audit
        self._clock = clock

    def add(self, session: Session, owner: Owner, wish: AddWebhook) -> tuple[WebhookEndpoint, str]:
        """The webhook and its secret. Raises InvalidInputError, ConflictError."""
        self._check(wish.url)
        if len(repository.endpoints(session, owner)) >= _MOST_ENDPOINTS:
            raise ConflictError(f"There may be {_MOST_ENDPOINTS} webhooks; remove one first.", code="too_many_webhooks")
        row = WebhookEndpoint(
            id=new_id("whk"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            url=wish.url,
            description=wish.description,
            state=EndpointState.ACTIVE,
            disabled_reason="",
            revision=1,
            created_at=self._clock.now(),
        )
        session.add(row)
        session.flush()
        self._record(session, owner, "add_webhook", row)
        return row, self._new_secret(session, row)

    def change(self, session: Session, owner: Owner, endpoint_id: str, wish: ChangeWebhook) -> WebhookEndpoint:
        """Raises NotFoundError, InvalidInputError."""
        row = self.require(session, owner, endpoint_id)
        self._check(wish.url)
        row.url, row.description, row.state = wish.url, wish.description, wish.state
        row.disabled_reason = ""
        row.revision += 1
        self._record(session, owner, "change_webhook", row)
        return row

    def rotate(self, session: Session, owner: Owner, endpoint_id: str) -> tuple[WebhookEndpoint, str]:
        """A new secret; the one before signs as well for a day, any older one no more. Raises NotFoundError."""
        row = self.require(session, owner, endpoint_id)
        now = self._clock.now()
        for number, each in enumerate(repository.secrets_of(session, row.id, now)):
            each.expires_at = now if number else now + _BOTH_SIGN
        row.revision += 1
        self._record(session, owner, "rotate_webhook_secret", row)
        return row, self._new_secret(session, row)

    def remove(self, session: Session, owner: Owner, endpoint_id: str) -> None:
        """With its deliveries. Raises NotFoundError."""
        row = self.require(session, owner, endpoint_id)
        self._record(session, owner, "remove_webhook", row)
        repository.delete_endpoint(session, row)

    def require(self, session: Session, owner: Owner, endpoint_id: str, *, hold: bool = True) -> WebhookEndpoint:
        row = repository.endpoint(session, owner, endpoint_id, hold=hold)
        if row is None:
            raise NotFoundError("There is no such webhook.", code="webhook_not_found")
        return row

    def require_delivery(self, session: Session, owner: Owner, endpoint_id: str, delivery_id: str) -> AlertDelivery:
        self.require(session, owner, endpoint_id)
        row = repository.delivery(session, delivery_id)
        if row is None or row.endpoint_id != endpoint_id or row.tenant_id != owner.tenant_id:
            raise NotFoundError("There is no such delivery.", code="delivery_not_found")
        return row

    def to_sign(self, session: Session, delivery: AlertDelivery) -> tuple[str, list[str]] | None:
        """Address and secrets for a delivery; None when it has nowhere to go any more."""
        owner = Owner(delivery.tenant_id, delivery.user_id)
        row = repository.endpoint(session, owner, delivery.endpoint_id or "")
        if row is None or row.state != EndpointState.ACTIVE:
            return None
        return row.url, [
            self._open(session, each) for each in repository.secrets_of(session, row.id, self._clock.now())
        ]

    def _new_secret(self, session: Session, endpoint: WebhookEndpoint) -> str:
        secret, secret_id = new_secret(), new_id("whs")
        sealed = self._vault.seal_for_tenant(session, endpoint.tenant_id, _place(secret_id), secret.encode())
        session.add(
            WebhookSecret(
                id=secret_id,
                tenant_id=endpoint.tenant_id,
                endpoint_id=endpoint.id,
                key_version=sealed.key_version,
                sealed_secret=sealed.content,
                created_at=self._clock.now(),
            )
        )
        session.flush()
        return secret

    def _open(self, session: Session, row: WebhookSecret) -> str:
        sealed = Sealed(row.key_version, row.sealed_secret)
        return self._vault.unseal_for_tenant(session, row.tenant_id, _place(row.id), sealed).decode()

    def _check(self, url: str) -> None:
        try:
            self._outbound.check(url)
        except UnsafeAddressError as error:
            raise invalid_field("url", str(error), code="unsafe_address") from error

    def _record(self, session: Session, owner: Owner, action: str, row: WebhookEndpoint) -> None:
        facts = {"url": row.url, "state": row.state}
        self._audit.record(session, owner.tenant_id, Deed(owner.user_id, action, row.id, "", after=facts))


def webhook_tag(row: WebhookEndpoint) -> str:
    return entity_tag(row.id, row.revision)


def _place(secret_id: str) -> str:
    return f"webhook-secret|{secret_id}"


WEBHOOK_SECRETS = SealedColumn(
    WebhookSecret,
    WebhookSecret.id,
    "sealed_secret",
    lambda row, key_version: tenant_place(row.tenant_id, _place(row.id), key_version),
)
"""For the rotation of data keys."""
