"""Connect, deploy, undeploy and remove trading accounts, and show them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from control_plane.access import repository as access_repository
from control_plane.access.model import LONGEST_SESSION, RevokedTicket
from control_plane.accounts import repository
from control_plane.accounts.model import Account, AccountSnapshotRow
from control_plane.accounts.repository import AccountView
from control_plane.accounts.schemas import AccountOut, ConnectAccount, SnapshotOut
from control_plane.accounts.shown import ColumnsView, SnapshotShown
from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.relocation import LeasePolicy
from control_plane.assignments.service import Assignments
from control_plane.assignments.state import is_leaving
from control_plane.audit.service import THE_FARM, Audit, Deed
from control_plane.bots import repository as bots_repository
from control_plane.brokers.service import require_server
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.db.tenancy import as_system
from control_plane.errors import ConflictError, NotFoundError, TooManyRequestsError
from control_plane.fleet import repository as fleet_repository
from control_plane.fleet.moves import check_move
from control_plane.fleet.service import Fleet
from control_plane.identity.owner import Owner
from control_plane.ids import new_id
from control_plane.jobs.service import Outbox
from control_plane.jobs.state import JobKind
from control_plane.money import money_text
from control_plane.preconditions import entity_tag, require_match
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.model import Terminal
from control_plane.terminals.service import forget_refusal, present_terminal, request
from control_plane.terminals.state import (
    Actor,
    Hold,
    Intent,
    RequestKind,
    Standing,
    TransitionKind,
    Verb,
    change_intent,
    check_verb,
)
from control_plane.terminals.transitions import Transition, record
from control_plane.vault.service import Vault
from control_plane.vault.trials import LoginTrials

_MOST_REVOKED = 100
_MOVED_BY_OWNER = "Moving to another node, as you asked."


class Accounts:
    def __init__(
        self,
        vault: Vault,
        trials: LoginTrials,
        fleet: Fleet,
        assignments: Assignments,
        outbox: Outbox,
        audit: Audit,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._vault = vault
        self._trials = trials
        self._fleet = fleet
        self._assignments = assignments
        self._outbox = outbox
        self._audit = audit
        self._bus = bus
        self._clock = clock

    def connect(self, session: Session, owner: Owner, wish: ConnectAccount) -> str:
        """Write down the account, its sealed password and a terminal that should run. Returns the account's id.

        Raises InvalidInputError for an unknown server, ConflictError when the user has connected this login already.
        """
        server = require_server(session, wish.server)
        if repository.with_login(session, owner, server.name, wish.login) is not None:
            raise ConflictError(
                f"You have already connected login {wish.login} at {server.name}.", code="account_already_connected"
            )
        account = Account(
            id=new_id("acc"),
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            label=wish.label,
            login=wish.login,
            server=server.name,
            created_at=self._clock.now(),
        )
        self.add(session, account, wish.password.get_secret_value(), "connect_account")
        self._announce(session, account)
        return account.id

    def add(self, session: Session, account: Account, password: str, action: str) -> None:
        """Write down a new account with its sealed password, and a terminal that shall run."""
        session.add(account)
        session.flush()
        self._vault.put_credentials(session, account.tenant_id, account.id, password)
        self._add_terminal(session, account)
        self._record(session, account, action, after={"login": account.login, "server": account.server})

    def end(self, session: Session, account: Account, actor: Actor) -> None:
        """Stop the terminal for good; the password goes once it is known not to run."""
        terminal = self._set_intent(session, account, Intent.DELETED, actor)
        if assignments_repository.alive(session, account.tenant_id, terminal.id) is None:
            self._vault.erase_credentials(session, account.tenant_id, account.id)

    def _add_terminal(self, session: Session, account: Account) -> None:
        """One that shall run, and the job that finds a place for it."""
        now = self._clock.now()
        terminal = Terminal(
            id=new_id("ter"),
            tenant_id=account.tenant_id,
            account_id=account.id,
            intent=Intent.RUNNING,
            hold=Hold.NONE,
            last_epoch=0,
            placement_note="",
            changed_at=now,
            created_at=now,
        )
        session.add(terminal)
        session.flush()
        record(session, terminal, Transition(TransitionKind.INTENT, "", Intent.RUNNING, Actor.USER), now)
        self._outbox.put(session, JobKind.PLACE_TERMINAL, terminal.id)

    def change_password(self, session: Session, owner: Owner, account_id: str, password: str) -> None:
        """Raises ConflictError while the same login runs in another terminal: this one would join it.

        Raises TooManyRequestsError when another wrong one could make the broker lock the account.
        """
        account = require_account(session, owner, account_id)
        with as_system(session):  # another tenant's user may have connected the same login
            runs_elsewhere = terminals_repository.runs_elsewhere(session, account)
        if runs_elsewhere:
            raise ConflictError(
                "The same MT5 account still runs in another terminal; stop that one first.",
                code="account_runs_elsewhere",
            )
        self._trials.check_new_password(session, account)
        version = self._vault.put_credentials(session, owner.tenant_id, account.id, password)
        facts = ({"version": version - 1}, {"version": version})
        self._record(session, account, "change_password", *facts)
        forget_refusal(session, _terminal_of(session, account))
        self._end_access(session, account)

    def end_access(self, session: Session, owner: Owner, account_id: str) -> None:
        """End all sessions with the terminal, and let no ticket that was issued before open another one."""
        account = require_account(session, owner, account_id)
        self._record(session, account, "end_sessions")
        self._end_access(session, account)

    def end_access_of_user(self, session: Session, owner: Owner) -> None:
        """The same for everything that the user owns."""
        for account in repository.all_owned(session, owner):
            self._record(session, account, "end_sessions")
            self._end_access(session, account)

    def revoke_ticket(self, session: Session, owner: Owner, account_id: str, ticket_id: str) -> None:
        """End the session that was opened with one ticket, or let it open none.

        Raises TooManyRequestsError: nodes are told of every one of them with every change.
        """
        account = require_account(session, owner, account_id)
        terminal = _terminal_of(session, account)
        assignment = assignments_repository.alive(session, account.tenant_id, terminal.id)
        if assignment is None:
            return  # without a place there is no session
        if access_repository.count_revoked(session, terminal.id, self._clock.now()) >= _MOST_REVOKED:
            raise TooManyRequestsError("Too many tickets were revoked one by one; end all sessions instead.")
        access_repository.revoke_ticket(
            session,
            RevokedTicket(
                terminal_id=terminal.id,
                ticket_id=ticket_id,
                tenant_id=account.tenant_id,
                node_id=assignment.node_id,
                expires_at=self._clock.now() + LONGEST_SESSION,
            ),
        )
        self._record(session, account, "revoke_ticket", after={"ticket": ticket_id})
        self._fleet.desired_changed(session, assignment.node_id)

    def set_lease_policy(self, session: Session, owner: Owner, account_id: str, policy: LeasePolicy) -> None:
        """What becomes of the terminal when its node loses touch with the farm."""
        account = require_account(session, owner, account_id)
        terminal = _terminal_of(session, account)
        self._record(session, account, "set_lease_policy", {"policy": terminal.lease_policy}, {"policy": policy})
        self._assignments.set_lease_policy(session, terminal, policy)
        self._announce(session, account)

    def deploy(self, session: Session, owner: Owner, account_id: str) -> None:
        account = require_account(session, owner, account_id)
        self._set_intent(session, account, Intent.RUNNING)

    def undeploy(self, session: Session, owner: Owner, account_id: str) -> None:
        account = require_account(session, owner, account_id)
        self._set_intent(session, account, Intent.STOPPED)

    def restart(self, session: Session, owner: Owner, account_id: str) -> None:
        """Have the node end the terminal and start it again, once. It is away for some ten seconds.

        Raises ConflictError for a terminal that does not run anywhere.
        """
        account = require_account(session, owner, account_id)
        terminal = _terminal_of(session, account)
        self._check(session, terminal, Verb.RESTART)
        request(session, terminal, RequestKind.RESTART, self._clock.now(), Actor.USER)
        self._record(session, account, "restart")
        self._desired_changed(session, account)

    def move(self, session: Session, owner: Owner, account_id: str, *, with_positions: bool) -> None:
        """Have the terminal stopped where it is and started on another node. It is away for some ten seconds.

        Raises ConflictError for a terminal that does not run anywhere, for an account that may have positions unless
        `with_positions`, and when no other node can take it.
        """
        account = require_account(session, owner, account_id)
        terminal = _terminal_of(session, account)
        self._check(session, terminal, Verb.MOVE)
        with as_system(session):  # nodes and the terminals on them are the operator's to see
            placement = assignments_repository.of_terminal(session, terminal.id)
            if placement is None or is_leaving(placement.assignment.state):
                return
            node = fleet_repository.lock_node(session, placement.assignment.node_id)
            if node is None:
                return
            check_move(session, node, placement, with_positions=with_positions)
            self._assignments.revoke(session, placement, _MOVED_BY_OWNER, Actor.USER)
        self._record(session, account, "move", after={"with_positions": with_positions})

    def _check(self, session: Session, terminal: Terminal, verb: Verb) -> None:
        assignment = assignments_repository.alive(session, terminal.tenant_id, terminal.id)
        standing = Standing(
            Intent(terminal.intent),
            Hold(terminal.hold),
            placed=assignment is not None,
            leaving=assignment is not None and is_leaving(assignment.state),
        )
        check_verb(verb, standing)

    def remove(self, session: Session, owner: Owner, account_id: str) -> None:
        """Stop the terminal for good. The rows stay, so that the trade log stays; the password goes."""
        account = require_account(session, owner, account_id)
        account.deleted_at = self._clock.now()
        self._record(session, account, "remove_account")
        bots_repository.delete_of_account(session, owner.tenant_id, account.id, self._clock.now())
        self.end(session, account, Actor.USER)

    def _record(
        self,
        session: Session,
        account: Account,
        action: str,
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
        *,
        actor: Actor = Actor.USER,
    ) -> None:
        """A deed of the account's owner, or of the farm on the owner's behalf."""
        who, on_behalf_of = (account.user_id, "") if actor is Actor.USER else (THE_FARM, account.user_id)
        deed = Deed(who, action, account.id, "", on_behalf_of, before, after)
        self._audit.record(session, account.tenant_id, deed)

    def _end_access(self, session: Session, account: Account) -> None:
        _terminal_of(session, account).access_epoch += 1
        self._desired_changed(session, account)

    def _set_intent(self, session: Session, account: Account, intent: Intent, actor: Actor = Actor.USER) -> Terminal:
        terminal = _terminal_of(session, account)
        changed = change_intent(Intent(terminal.intent), intent)
        if changed != terminal.intent:
            facts = {"intent": terminal.intent}, {"intent": changed}
            self._record(session, account, "set_intent", *facts, actor=actor)
            now = self._clock.now()
            record(session, terminal, Transition(TransitionKind.INTENT, terminal.intent, changed, actor), now)
            terminal.intent, terminal.changed_at = changed, now
            self._outbox.put(session, JobKind.PLACE_TERMINAL, terminal.id)
            self._desired_changed(session, account)
        return terminal

    def _desired_changed(self, session: Session, account: Account) -> None:
        assignment = assignments_repository.alive(session, account.tenant_id, _terminal_of(session, account).id)
        if assignment is not None:
            self._fleet.desired_changed(session, assignment.node_id)
        self._announce(session, account)

    def _announce(self, session: Session, account: Account) -> None:
        change = Change(Topic.ACCOUNT, account.id, account.user_id, account.id)
        after_commit(session, lambda: self._bus.publish(change))


def require_account(session: Session, owner: Owner, account_id: str) -> Account:
    """Raises NotFoundError for an account that is not this user's, whether or not somebody else has it."""
    account = repository.owned(session, owner, account_id)
    if account is None:
        raise NotFoundError("There is no such account.", code="account_not_found")
    return account


def require_view(session: Session, owner: Owner, account_id: str) -> AccountView:
    """Raises NotFoundError for an account that is not this user's."""
    view = repository.view(session, owner, account_id)
    if view is None:
        raise NotFoundError("There is no such account.", code="account_not_found")
    return view


def account_tag(account: Account, terminal: Terminal) -> str:
    """A new password raises the epoch of access."""
    return entity_tag(account.id, account.label, terminal.intent, terminal.lease_policy, terminal.access_epoch)


def require_seen(session: Session, owner: Owner, account_id: str, if_match: str | None) -> None:
    """That the account, held from now on, is as the caller has seen it. Raises as `require_match`, or NotFoundError."""
    if if_match is not None:
        account = require_account(session, owner, account_id)
        terminal = terminals_repository.held_of_account(session, account.tenant_id, account.id)
        require_match(if_match, account_tag(account, terminal))


def present_account(view: AccountView | ColumnsView, now: datetime) -> AccountOut:
    return AccountOut(
        id=view.account.id,
        label=view.account.label,
        login=view.account.login,
        server=view.account.server,
        currency=view.snapshot.currency if view.snapshot else None,
        terminal=present_terminal(view.terminal, view.observation, view.assignment, view.node, now),
        snapshot=_present_snapshot(view.snapshot) if view.snapshot else None,
        created_at=view.account.created_at,
    )


def _present_snapshot(row: AccountSnapshotRow | SnapshotShown) -> SnapshotOut:
    return SnapshotOut(
        balance=money_text(row.balance),
        equity=money_text(row.equity),
        profit=money_text(row.profit),
        margin=money_text(row.margin),
        margin_free=money_text(row.margin_free),
        positions=row.positions,
        broker_time=row.broker_time,
        taken_at=row.taken_at,
    )


def _terminal_of(session: Session, account: Account) -> Terminal:
    return terminals_repository.of_account(session, account.tenant_id, account.id)
