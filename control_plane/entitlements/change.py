"""Give a user another plan, and bring what runs in line with it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from control_plane.accounts.service import Accounts
from control_plane.audit.service import Audit, Deed
from control_plane.bots.service import Bots
from control_plane.copying.service import Copying
from control_plane.entitlements.plans import Plan, allowed_by
from control_plane.identity.model import User
from control_plane.identity.owner import Owner
from control_plane.risk.service import Risk


class PlanChanges:
    def __init__(self, bots: Bots, copying: Copying, risk: Risk, accounts: Accounts, audit: Audit) -> None:
        self._bots = bots
        self._copying = copying
        self._risk = risk
        self._accounts = accounts
        self._audit = audit

    def give(self, session: Session, user: User, plan: Plan | None, actor: str, reason: str) -> None:
        """In force at once. Nothing is closed: bots that are not allowed any more finish, copying stops, programs lose
        their sessions, and nodes are told which symbols may still be opened. `user` is held.
        """
        before, user.plan = user.plan, plan
        session.flush()
        owner, had, held = Owner(user.tenant_id, user.id), allowed_by(before), allowed_by(plan)
        finishing = self._bots.plan_changed(session, owner, held, actor)
        if had.auto_trading and not held.auto_trading:
            self._copying.stop_following(session, owner, "The plan has manual trading only.")
            self._accounts.end_access_of_user(session, owner)
        self._risk.plan_changed(session, owner)
        facts = {"plan": before}, {"plan": plan, "finishing": finishing}
        deed = Deed(actor, "set_plan", user.id, reason, before=facts[0], after=facts[1])
        self._audit.record(session, user.tenant_id, deed)
