"""Let one account follow another, with the consent of both owners."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from decimal import Decimal
from statistics import median

from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.model import Account
from control_plane.accounts.service import require_account
from control_plane.alerts.service import Alerts
from control_plane.alerts.state import AlertEvent
from control_plane.audit.service import THE_FARM, Audit, Deed
from control_plane.clock import Clock
from control_plane.copying import repository
from control_plane.copying.model import Copier, CopyInvitation
from control_plane.copying.rules import CopySettings
from control_plane.copying.schemas import CopierOut, CopyRulesOut, InviteToCopy, SetCopyRules, StartCopying
from control_plane.copying.state import CopierState, may_become
from control_plane.entitlements.decision import require_auto_trading
from control_plane.entitlements.service import held_by_one
from control_plane.errors import ConflictError, NotFoundError, invalid_field
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.preconditions import entity_tag

_MOST_COPIERS = 50
_MOST_INVITATIONS = 50
_MAGIC_FLOOR, _MAGICS = 700_000_000, 100_000_000
_MEASURED = 100


class Copying:
    def __init__(self, alerts: Alerts, audit: Audit, clock: Clock) -> None:
        self._alerts = alerts
        self._audit = audit
        self._clock = clock

    def invite(self, session: Session, owner: Owner, wish: InviteToCopy) -> tuple[CopyInvitation, str]:
        """The owner consents that whoever has the code follows the account. Raises NotFoundError, ConflictError."""
        require_account(session, owner, wish.account_id)
        if len(repository.invitations(session, owner)) >= _MOST_INVITATIONS:
            text = f"There may be {_MOST_INVITATIONS} invitations, used ones included; remove one first."
            raise ConflictError(text, code="too_many_copy_invitations")
        now, code = self._clock.now(), secrets.token_urlsafe(18)
        row = CopyInvitation(
            id=new_id("cpi"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            account_id=wish.account_id,
            code_hash=_hash(code),
            created_at=now,
            expires_at=now + timedelta(days=wish.expires_in_days),
        )
        session.add(row)
        session.flush()
        self._record(session, owner, "invite_to_copy", row.id, {"account": wish.account_id})
        return row, code

    def revoke_invitation(self, session: Session, owner: Owner, invitation_id: str) -> None:
        """Its code is of no use any more; who follows already goes on. Raises NotFoundError."""
        row = repository.invitation(session, owner, invitation_id)
        if row is None:
            raise NotFoundError("There is no such invitation.", code="invitation_not_found")
        self._record(session, owner, "revoke_copy_invitation", row.id, {})
        session.delete(row)

    def sides(self, session: Session, owner: Owner, wish: StartCopying) -> tuple[Account, Account]:
        """Who would lead and who would follow. Raises NotFoundError, InvalidInputError."""
        leader, _ = self._leader(session, owner, wish, hold=False)
        return leader, require_account(session, owner, wish.follower_account_id)

    def start(self, session: Session, owner: Owner, wish: StartCopying) -> Copier:
        """Raises NotFoundError, ConflictError, InvalidInputError, ForbiddenError where the plan does not allow it."""
        require_auto_trading(held_by_one(session, owner.user_id))
        follower = require_account(session, owner, wish.follower_account_id)
        leader, invitation = self._leader(session, owner, wish)
        if leader.id == follower.id:
            raise invalid_field("follower_account_id", "An account cannot follow itself.", code="same_account")
        if invitation is not None:
            invitation.used_at = self._clock.now()
        repository.hold_accounts(session, (leader.id, follower.id))
        if len(repository.copiers(session, owner, ended=False)) >= _MOST_COPIERS:
            raise ConflictError(f"There may be {_MOST_COPIERS} of these; end one.", code="too_many_copiers")
        present = repository.running_of_follower(session, follower.id)
        if any(each.leader_account_id == leader.id for each in present):
            raise ConflictError("It follows this account already.", code="copies_already")
        if _leads_to(session, leader.id, follower.id):
            raise ConflictError("These accounts would follow each other in a circle.", code="copying_in_circle")
        row = Copier(
            id=new_id("cpy"),
            tenant_id=owner.tenant_id,
            leader_user_id=leader.user_id,
            leader_account_id=leader.id,
            follower_user_id=owner.user_id,
            follower_account_id=follower.id,
            settings=wish.rules.model_dump(mode="json"),
            magic=_MAGIC_FLOOR + secrets.randbelow(_MAGICS),
            state=CopierState.ACTIVE,
            reason="",
            revision=1,
            started=False,
            refusals=0,
            created_at=self._clock.now(),
        )
        session.add(row)
        session.flush()
        self._record(session, owner, "start_copying", row.id, {"leader": leader.id, "follower": follower.id})
        return row

    def change(self, session: Session, owner: Owner, copier_id: str, rules: SetCopyRules) -> Copier:
        """For what is copied from now on. Raises NotFoundError, ConflictError."""
        row = self.require_follower(session, owner, copier_id)
        if row.state == CopierState.STOPPED:
            raise ConflictError("It has been stopped; start anew.", code="copying_stopped")
        row.settings = rules.model_dump(mode="json")
        row.revision += 1
        self._record(session, owner, "change_copying", row.id, {})
        return row

    def enter(self, session: Session, owner: Owner, copier_id: str, state: CopierState) -> Copier:
        """Pausing and going on are the follower's, stopping is for both. Raises NotFoundError, ConflictError."""
        seen = self.require(session, owner, copier_id)
        if state is not CopierState.STOPPED:
            seen = self.require_follower(session, owner, copier_id)
        row = repository.held(session, seen.id)
        if row is None or not may_become(CopierState(row.state), state):
            raise ConflictError("It has been stopped; start anew.", code="copying_stopped")
        if row.state != state:
            row.state = state
            row.revision += 1
            row.refusals = 0
            row.stopped_at = self._clock.now() if state is CopierState.STOPPED else None
            self._record(session, owner, f"copying_{state}", row.id, {})
        return row

    def stop_following(self, session: Session, owner: Owner, reason: str) -> None:
        """All that the user's accounts follow; those that follow them go on."""
        for seen in repository.copiers(session, owner, ended=False):
            if seen.follower_user_id == owner.user_id and (row := repository.held(session, seen.id)) is not None:
                self.stop_for(session, row, reason)

    def stop_for(self, session: Session, row: Copier, reason: str) -> None:
        """The farm stops it by itself, and tells both owners. `row` is held."""
        row.state, row.reason, row.stopped_at = CopierState.STOPPED, reason[:300], self._clock.now()
        row.revision += 1
        self._audit.record(session, row.tenant_id, Deed(THE_FARM, "stop_copying", row.id, reason))
        sides = {(row.follower_user_id, row.follower_account_id), (row.leader_user_id, row.leader_account_id)}
        told = set()
        for user_id, account_id in sorted(sides, key=lambda side: side[1] != row.follower_account_id):
            if user_id not in told:
                told.add(user_id)
                own = user_id == row.follower_user_id
                text = (
                    f"{reason} The copied positions stay open as they are." if own else "The follower's side ended it."
                )
                self._alerts.tell(
                    session,
                    Owner(row.tenant_id, user_id),
                    AlertEvent.COPYING_STOPPED,
                    row.id,
                    "Copy trading has stopped",
                    text,
                    key=row.id,
                    account_id=account_id,
                )

    def require(self, session: Session, owner: Owner, copier_id: str) -> Copier:
        row = repository.copier(session, owner, copier_id)
        if row is None:
            raise NotFoundError("There is no such copying.", code="copier_not_found")
        return row

    def require_follower(self, session: Session, owner: Owner, copier_id: str) -> Copier:
        """What is copied, and how, is the follower's to see and say."""
        row = self.require(session, owner, copier_id)
        if row.follower_user_id != owner.user_id:
            raise NotFoundError("There is no such copying.", code="copier_not_found")
        return row

    def _leader(
        self, session: Session, owner: Owner, wish: StartCopying, *, hold: bool = True
    ) -> tuple[Account, CopyInvitation | None]:
        """With the invitation when it is somebody else's."""
        if (wish.leader_account_id is None) == (wish.code is None):
            raise invalid_field("leader_account_id", "Give an account of your own to follow, or a code.")
        if wish.code is None:
            return require_account(session, owner, wish.leader_account_id or ""), None
        hashed = _hash(wish.code.get_secret_value())
        invitation = repository.invitation_by_code(session, hashed, self._clock.now(), hold=hold)
        account = None
        if invitation is not None:
            account = accounts_repository.owned(
                session, Owner(owner.tenant_id, invitation.user_id), invitation.account_id
            )
        if invitation is None or account is None:
            raise invalid_field("code", "This code is not valid (any more).", code="code_not_valid")
        return account, invitation

    def _record(self, session: Session, owner: Owner, action: str, subject: str, after: dict[str, object]) -> None:
        self._audit.record(session, owner.tenant_id, Deed(owner.user_id, action, subject, "", after=after))


def settings_of(row: Copier) -> CopySettings:
    rules = SetCopyRules.model_validate(row.settings)
    return CopySettings(
        scaling=rules.scaling,
        value=rules.value,
        reverse=rules.reverse,
        symbols=tuple(rules.symbols),
        symbol_map=rules.symbol_map,
        most_lots=rules.most_lots,
        most_positions=rules.most_positions,
        most_slippage_points=rules.most_slippage_points,
        most_delay=timedelta(seconds=rules.most_delay_seconds),
        copy_stops=rules.copy_stops,
        copy_open=rules.copy_open,
    )


def stop_reason(rules: SetCopyRules, refusals: int, equity: Decimal | None, peak: Decimal | None) -> str:
    """Why copying has to stop by itself; empty when it has not."""
    if refusals >= rules.stop_after_refusals:
        return f"{refusals} orders in a row were refused."
    limit = rules.stop_at_drawdown_percent
    if limit is not None and equity is not None and peak is not None and peak > 0:
        drawdown = (peak - equity) / peak * 100
        if drawdown >= Decimal(str(limit)):
            return f"The follower's equity is {drawdown:.1f} % below its highest since the start."
    return ""


def copier_tag(row: Copier) -> str:
    return entity_tag(row.id, row.revision)


def present_copier(session: Session, owner: Owner, row: Copier) -> CopierOut:
    leads, follows = row.leader_user_id == owner.user_id, row.follower_user_id == owner.user_id
    leader = accounts_repository.of_tenant(session, row.tenant_id, row.leader_account_id)
    follower = accounts_repository.of_tenant(session, row.tenant_id, row.follower_account_id)
    measured = repository.measured(session, row.id, _MEASURED)
    slippages = [slippage for _, slippage in measured if slippage is not None]
    return CopierOut(
        id=row.id,
        leads=leads,
        follows=follows,
        leader_account_id=row.leader_account_id if leads else None,
        leader_name=leader.label if leads and leader else "Somebody else's account",
        follower_account_id=row.follower_account_id if follows else None,
        follower_name=follower.label if follows and follower else "Somebody else's account",
        rules=CopyRulesOut.model_validate(row.settings) if follows else None,
        state=CopierState(row.state),
        reason=row.reason if follows else "",
        started=row.started,
        open_positions=repository.count_open(session, row.id),
        median_lag_ms=round(median(lag for lag, _ in measured)) if measured else None,
        median_slippage_points=round(median(slippages), 1) if slippages else None,
        created_at=row.created_at,
        stopped_at=row.stopped_at,
    )


def _leads_to(session: Session, account_id: str, wanted: str) -> bool:
    """Whether an account follows another one, perhaps through others."""
    seen, waiting = set[str](), [account_id]
    while waiting:
        each = waiting.pop()
        if each == wanted:
            return True
        if each not in seen:
            seen.add(each)
            waiting += [above.leader_account_id for above in repository.running_of_follower(session, each)]
    return False


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
