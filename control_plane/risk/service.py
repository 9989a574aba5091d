"""Limits of accounts: what people set, what their nodes are told, and what the guards there say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.orm import Session

from control_plane.accounts.model import Account
from control_plane.accounts.repository import AccountColumns
from control_plane.accounts.service import require_account
from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.repository import Placement
from control_plane.audit.service import THE_FARM, Audit, Deed
from control_plane.brokers.server_time import COMMON_ZONE
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.bulk import put_rows
from control_plane.db.engine import after_commit
from control_plane.db.tenancy import as_system
from control_plane.entitlements import service as entitlements_service
from control_plane.errors import ConflictError, FieldError, InvalidInputError
from control_plane.fleet.service import Fleet
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.preconditions import entity_tag, require_match
from control_plane.risk import repository
from control_plane.risk.limits import NO_LIMITS, Limits, guard_of, limits_of_account, looser, strictest
from control_plane.risk.model import AccountLimits, GuardObservation, KillSwitch, LimitDefaults
from control_plane.risk.state import (
    REFRESH_AFTER,
    InForce,
    KillMode,
    KillScope,
    Subject,
    Switch,
    in_force,
    says_else,
)
from control_plane.terminals.holds import Holds
from control_plane.terminals.state import Actor, Hold, Intent
from node_agent.protocol.messages import Guard, GuardMemory, ObservedGuard, ObservedTerminal

_log = structlog.get_logger(__name__)


class Risk:
    def __init__(self, fleet: Fleet, holds: Holds, audit: Audit, bus: Bus, clock: Clock) -> None:
        self._fleet = fleet
        self._holds = holds
        self._audit = audit
        self._bus = bus
        self._clock = clock

    def set_limits(self, session: Session, owner: Owner, account_id: str, limits: Limits, actor: str) -> None:
        """Raises InvalidInputError for what is looser than the tenant's defaults."""
        account = require_account(session, owner, account_id)
        defaults = tenant_limits(session, account.tenant_id)
        if wide := looser(strictest(defaults, limits), defaults) + _wider_than(limits, defaults):
            raise InvalidInputError(
                "An account may only be stricter than the defaults of its tenant.",
                code="looser_than_defaults",
                errors=[FieldError(f"limits.{name}", "This would allow more than the defaults do.") for name in wide],
            )
        row = self._row(session, account)
        before, row.limits, row.changed_at = row.limits, stored(limits), self._clock.now()
        facts = {"limits": before}, {"limits": row.limits}
        deed = Deed(actor, "set_limits", account.id, "", before=facts[0], after=facts[1])
        self._audit.record(session, account.tenant_id, deed)
        self.account_changed(session, account)

    def set_defaults(self, session: Session, tenant_id: str, limits: Limits, actor: str) -> None:
        """For all accounts of a tenant, those that have limits of their own included."""
        row = repository.defaults_of(session, [tenant_id]).get(tenant_id)
        if row is None:
            row = LimitDefaults(tenant_id=tenant_id, limits=stored(NO_LIMITS), changed_at=self._clock.now())
            session.add(row)
        before, row.limits, row.changed_at = row.limits, stored(limits), self._clock.now()
        deed = Deed(actor, "set_default_limits", tenant_id, "", before={"limits": before}, after={"limits": row.limits})
        self._audit.record(session, tenant_id, deed)
        session.flush()
        self._fleet.desired_changed(session, *repository.nodes_of_tenant(session, tenant_id))

    def plan_changed(self, session: Session, owner: Owner) -> None:
        """Tell the nodes of a user's accounts, which hold what the plan leaves of the symbols."""
        self._fleet.desired_changed(session, *repository.nodes_of_user(session, owner))

    def rearm(self, session: Session, owner: Owner, account_id: str, actor: str) -> None:
        """Let an account open positions again after a loss limit was hit; losses count from now on.

        What a kill switch has stopped stays so until that is released.
        """
        account = require_account(session, owner, account_id)
        row = self._row(session, account)
        row.rearm_id, row.changed_at = new_id("arm"), self._clock.now()
        self._audit.record(session, account.tenant_id, Deed(actor, "rearm_guard", account.id, ""))
        self.lift_hold(session, account, actor)
        self.account_changed(session, account)

    def lift_hold(self, session: Session, account: Account, actor: str) -> None:
        """Let the terminal start again, unless a kill switch closes everything."""
        with as_system(session):
            closing = kill_of(session, account).mode is KillMode.CLOSE_ALL
            terminal = repository.terminal_of(session, account.id)
            if terminal is not None and terminal.hold == Hold.RISK and not closing:
                self._holds.lift(session, terminal, Hold.RISK, Deed(actor, "", "", "re-armed"), Actor.USER)

    def hold(self, session: Session, account_id: str, reason: str) -> None:
        """Stop a terminal whose account was closed out, so that nothing inside it trades on."""
        terminal = repository.terminal_of(session, account_id)
        if terminal is None or terminal.hold != Hold.NONE or terminal.intent != Intent.RUNNING:
            return
        try:
            self._holds.hold(session, terminal, Hold.RISK, Deed(THE_FARM, "", "", reason), Actor.FARM)
        except ConflictError as error:
            _log.info("not_held", account=account_id, error=error.code)

    def account_changed(self, session: Session, account: Account) -> None:
        """Tell its node, and whoever looks at it."""
        session.flush()
        with as_system(session):
            terminal = repository.terminal_of(session, account.id)
        if terminal is not None:
            assignment = assignments_repository.alive(session, account.tenant_id, terminal.id)
            if assignment is not None:
                self._fleet.desired_changed(session, assignment.node_id)
        self.announce(session, account)

    def announce(self, session: Session, account: Account | AccountColumns) -> None:
        change = Change(Topic.GUARD, account.id, account.user_id, account.id)
        after_commit(session, lambda: self._bus.publish(change))

    def observe(self, session: Session, seen: Sequence[tuple[AccountColumns, ObservedTerminal]]) -> None:
        """Keep what guards say that is new; a terminal that has closed everything after a loss limit is held back."""
        told = [(account, each.guard, each.epoch) for account, each in seen if each.guard is not None]
        if not told:
            return
        now = self._clock.now()
        known = repository.observations(session, [account.id for account, _, _ in told])
        rows = []
        for account, guard, epoch in told:
            before, body = known.get(account.id), guard.model_dump(mode="json")
            news = before is None or before.epoch != epoch or says_else(before.body, body)
            if news:
                self.announce(session, account)
            if news or before is None or now - before.reported_at >= REFRESH_AFTER:
                rows.append(
                    {
                        "account_id": account.id,
                        "tenant_id": account.tenant_id,
                        "epoch": epoch,
                        "body": body,
                        "reported_at": now,
                    }
                )
        put_rows(session, GuardObservation, rows)
        for account, guard, _ in told:
            if guard.trips and guard.flat and self._closes(session, account):
                self.hold(session, account.id, f"{guard.trips[0].switch} was hit and everything is closed")

    def _closes(self, session: Session, account: Account | AccountColumns) -> bool:
        return limits_in_force(session, account).on_breach == "close_all"

    def _row(self, session: Session, account: Account) -> AccountLimits:
        row = repository.held_limits(session, account.id)
        if row is None:
            row = AccountLimits(
                account_id=account.id,
                tenant_id=account.tenant_id,
                limits=stored(NO_LIMITS),
                rearm_id="",
                changed_at=self._clock.now(),
            )
            session.add(row)
        return row


def _wider_than(limits: Limits, defaults: Limits) -> list[str]:
    """What an account sets looser than its tenant; what it leaves out is the tenant's."""
    unset = set(Limits.model_fields) - limits.model_fields_set
    blank = {name for name in Limits.model_fields if getattr(limits, name) == getattr(NO_LIMITS, name)}
    return [name for name in looser(limits, defaults) if name not in unset | blank]


def stored(limits: Limits) -> dict[str, Any]:
    return limits.model_dump(mode="json", exclude_defaults=True)


def read_limits(row: AccountLimits | LimitDefaults | None) -> Limits:
    return NO_LIMITS if row is None else Limits.model_validate(row.limits)


def tenant_limits(session: Session, tenant_id: str) -> Limits:
    return read_limits(repository.defaults_of(session, [tenant_id]).get(tenant_id))


def limits_in_force(session: Session, account: Account | AccountColumns) -> Limits:
    plan = entitlements_service.held_by_one(session, account.user_id)
    own = read_limits(repository.limits_of(session, [account.id]).get(account.id))
    return limits_of_account(plan, tenant_limits(session, account.tenant_id), own)


def limits_tag(row: AccountLimits | LimitDefaults | None) -> str:
    """Of limits, for If-Match."""
    return entity_tag(None if row is None else row.changed_at.isoformat())


def require_seen_limits(session: Session, account_id: str, if_match: str | None) -> None:
    require_match(if_match, limits_tag(repository.held_limits(session, account_id)))


def as_switch(row: KillSwitch) -> Switch:
    return Switch(row.id, KillScope(row.scope), row.subject_id, KillMode(row.mode))


def kill_of(session: Session, account: Account) -> InForce:
    """What the kill switches that concern an account come to. In a session of the farm's own."""
    rows = [as_switch(row) for row in repository.switches_in_force(session)]
    return in_force(rows, Subject(account.id, account.user_id, account.tenant_id))


def guards(
    session: Session, placements: Sequence[Placement], now: datetime
) -> dict[str, tuple[Guard, GuardMemory | None]]:
    """What nodes are told of the limits of these accounts, by account id, and what is remembered of each."""
    ids = [each.account.id for each in placements]
    own, seen = repository.limits_of(session, ids), repository.observations(session, ids)
    tenants = {each.account.tenant_id for each in placements}
    defaults = repository.defaults_of(session, tenants)
    plans = entitlements_service.held_by(session, [each.account.user_id for each in placements])
    switches = [as_switch(row) for row in repository.switches_in_force(session)]
    found = {}
    for placement in placements:
        account = placement.account
        ours, row = read_limits(defaults.get(account.tenant_id)), own.get(account.id)
        limits = limits_of_account(plans[account.user_id], ours, read_limits(row))
        kill = in_force(switches, Subject(account.id, account.user_id, account.tenant_id))
        zone = placement.server.time_zone or COMMON_ZONE
        guard = guard_of(limits, kill, row.rearm_id if row else "", zone, now)
        found[account.id] = guard, _memory(seen.get(account.id))
    return found


def _memory(row: GuardObservation | None) -> GuardMemory | None:
    if row is None:
        return None
    known = ObservedGuard.model_validate(row.body)
    # A guard whose file was lost has nothing to pass on: what came before it is not known here either.
    return GuardMemory(**{name: getattr(known, name) for name in GuardMemory.model_fields})
