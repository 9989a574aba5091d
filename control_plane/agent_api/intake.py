"""What nodes report, translated into the domain: observations of terminals and bots, and events."""

from __future__ import annotations

import math
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.model import Account
from control_plane.assignments import repository as assignments_repository
from control_plane.assignments.repository import Placement
from control_plane.assignments.service import Assignments, enter
from control_plane.assignments.state import AssignmentState, is_leaving, may_become
from control_plane.audit.service import THE_FARM, Audit, Deed
from control_plane.bots.service import Bots
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.fleet import outdated
from control_plane.fleet.model import Node
from control_plane.fleet.service import Fleet
from control_plane.risk.service import Risk
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.service import Sighting, finish_requests, observe, without_refusal
from control_plane.terminals.state import GONE_PHASES, Actor, Hold, Intent, should_run
from control_plane.trading.service import TradeLog
from control_plane.vault.trials import LoginTrials
from node_agent.protocol.messages import (
    AccountSnapshot,
    BotLogBody,
    DealBody,
    Event,
    EventAck,
    HistoryOrderBody,
    ObservedTerminal,
    OrderBody,
    PositionsBody,
    SyncRequest,
    Wire,
)

_log = structlog.get_logger(__name__)


class Intake:
    """Only the present holder of an epoch tells what is; facts of the past are taken from whoever held the epoch."""

    def __init__(
        self,
        fleet: Fleet,
        assignments: Assignments,
        trials: LoginTrials,
        audit: Audit,
        bots: Bots,
        trade_log: TradeLog,
        risk: Risk,
        bus: Bus,
        clock: Clock,
        believed_for: timedelta,
    ) -> None:
        self._fleet = fleet
        self._assignments = assignments
        self._trials = trials
        self._audit = audit
        self._bots = bots
        self._trade_log = trade_log
        self._risk = risk
        self._bus = bus
        self._clock = clock
        self._believed_for = believed_for

    def take_observations(self, session: Session, node: Node, sync: SyncRequest) -> None:
        reported = {each.terminal_id: each for each in sync.terminals}
        placements = assignments_repository.of_node(session, node.id)
        self._notice_newer_epochs(session, node, placements, sync.terminals)
        knows_all = sync.known_generation == node.generation
        held = {placement.terminal.id for placement in placements}
        node.strays = sum(each.terminal_id not in held and each.phase not in GONE_PHASES for each in sync.terminals)
        current: list[tuple[Placement, ObservedTerminal]] = []
        sighting = Sighting(node.id, self._clock.now(), sync.report.clock, self._believed_for)
        for placement in placements:
            if knows_all:
                # Whichever snapshot the node acts on, it is this one or a later one.
                placement.assignment.lease_policy = placement.terminal.lease_policy
            seen = reported.get(placement.terminal.id)
            if placement.assignment.unproven and seen is not None and seen.phase not in GONE_PHASES:
                _believe(placement, seen)
            if seen is not None and seen.epoch == placement.assignment.epoch:
                current.append((placement, seen if knows_all else without_refusal(seen)))
        self._observe(session, current, sighting, knows_all=knows_all)
        if knows_all:
            self._release(session, [each for each in placements if _is_gone(each, reported.get(each.terminal.id))])
        if node.awaited and knows_all and node.strays == 0:
            node.awaited = False
            _log.info("awaited_node_settled", node=node.id)

    def _notice_newer_epochs(
        self, session: Session, node: Node, placements: list[Placement], terminals: list[ObservedTerminal]
    ) -> None:
        """An epoch that was never handed out here was handed out by a newer copy of this database.

        Then two nodes may be told to run one account. Nothing more is started until all nodes have reported.
        """
        known = {each.terminal.id: each.terminal.last_epoch for each in placements}
        strays = {each.terminal_id for each in terminals} - known.keys()
        if strays:
            known |= terminals_repository.last_epochs(session, strays)
        newer = {
            each.terminal_id: each.epoch
            for each in terminals
            if known.get(each.terminal_id, each.epoch) < each.epoch <= outdated.HIGHEST_EPOCH
        }
        if not newer:
            return
        for terminal_id, epoch in newer.items():
            terminals_repository.raise_last_epoch(session, terminal_id, epoch)
        if not outdated.awaited(session):
            outdated.begin(session)
        session.flush()
        session.expire_all()
        _log.error("database_is_outdated", node=node.id, terminals=sorted(newer))
        reason = f"{len(newer)} of its terminals have epochs that were never handed out here"
        self._audit.record(session, node.tenant_id, Deed(THE_FARM, "hold_after_outdated_database", node.id, reason))

    def announce_return(self, session: Session, node: Node) -> None:
        """A silent node is heard again: what is shown of all its terminals changes, even if they did not."""
        for placement in assignments_repository.of_node(session, node.id):
            self._announce(session, placement.account)

    def take_events(self, session: Session, node: Node, events: list[Event]) -> EventAck:
        """Every event is either stored (again) or can never be; both may leave the node's spool."""
        known = assignments_repository.accounts_ever_on(session, node.id, {event.account_id for event in events})
        accepted: list[str] = []
        rejected: dict[str, str] = {}
        for event in events:
            account = known.get((event.account_id, event.terminal_id, event.epoch))
            problem = "this node never held this terminal under this epoch"
            if account is not None:
                # The books of an account that is only tried are nobody's to keep.
                trial = accounts_repository.is_test(session, account)
                problem = "" if trial else self._take_event(session, account, event)
            if problem:
                rejected[event.event_id] = problem
            else:
                accepted.append(event.event_id)
        if rejected:
            _log.warning("events_rejected", node=node.id, count=len(rejected))
        return EventAck(accepted=accepted, rejected=rejected)

    def _observe(
        self,
        session: Session,
        current: list[tuple[Placement, ObservedTerminal]],
        sighting: Sighting,
        *,
        knows_all: bool,
    ) -> None:
        """All at once: a node reports every few seconds, and a query for each of its terminals would be too many."""
        for placement, seen in current:
            if may_become(AssignmentState(placement.assignment.state), AssignmentState.ACTIVE):
                enter(session, placement, AssignmentState.ACTIVE, sighting.at, actor=Actor.NODE)
            if finish_requests(session, placement.terminal, seen.finished_requests, sighting.at):
                self._fleet.desired_changed(session, placement.assignment.node_id)
        terminals = observe(session, [(placement.terminal, seen) for placement, seen in current], sighting)
        accounts = self._trade_log.record_snapshots(
            session,
            [
                (placement.account, seen.account)
                for placement, seen in current
                if seen.account is not None and _is_of(seen.account, placement.account)
            ],
        )
        self._bots.observe(session, {placement.account.id: seen.bots for placement, seen in current})
        self._risk.observe(session, current)
        changed = [
            (placement, seen)
            for placement, seen in current
            if placement.terminal.id in terminals or placement.account.id in accounts
        ]
        if knows_all:
            self._trials.observe(session, [(placement.account, seen) for placement, seen in changed])
        for placement, _ in changed:
            self._announce(session, placement.account)

    def _release(self, session: Session, gone: list[Placement]) -> None:
        if gone:
            self._bots.observe(session, {placement.account.id: () for placement in gone})
        for placement in gone:
            self._assignments.release(session, placement)

    def _announce(self, session: Session, account: Account) -> None:
        change = Change(Topic.ACCOUNT, account.id, account.user_id, account.id)
        after_commit(session, lambda: self._bus.publish(change))

    def _take_event(self, session: Session, account: Account, event: Event) -> str:
        """Empty when stored, else why it never can be."""
        problem = _unstorable(event)
        if problem:
            return problem
        match event.body:
            case DealBody() as body:
                try:
                    if self._trade_log.record_deal(session, account, body, event.epoch, event.occurred_at):
                        self._bots.announce_by_magic(session, account, body.magic)
                except ValueError as error:
                    return str(error)
            case OrderBody() as body:
                self._trade_log.record_order(session, account, event, body)
            case HistoryOrderBody() as body:
                self._trade_log.record_history_order(session, account, body, event.epoch)
            case PositionsBody() as body:
                self._trade_log.record_positions(session, account, body, event.epoch, event.occurred_at)
            case BotLogBody() as body:
                if not self._bots.record_log(session, account, event, body):
                    return "the account has no such bot"
        return ""


def _is_of(snapshot: AccountSnapshot, account: Account) -> bool:
    return (snapshot.login, snapshot.server) == (account.login, account.server)


def _believe(placement: Placement, seen: ObservedTerminal) -> None:
    """The node that is written here runs it, so nobody else does; perhaps under an epoch that is not known here."""
    assignment, terminal = placement.assignment, placement.terminal
    if assignment.epoch < seen.epoch <= outdated.HIGHEST_EPOCH:
        assignment.epoch = seen.epoch
        terminal.last_epoch = max(terminal.last_epoch, seen.epoch)
    if seen.epoch == assignment.epoch:
        assignment.unproven = False


def _unstorable(event: Event) -> str:
    """Why no database can hold an event; one such event must not hold up all that follow it. Empty when it can."""
    if event.occurred_at.tzinfo is None:
        return "the time has no zone"
    parts: list[Wire] = [event.body]
    if isinstance(event.body, PositionsBody):
        parts += event.body.positions
    for name, value in (pair for part in parts for pair in part):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"{name} is too large"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name} is not a number"
        if isinstance(value, str) and "\0" in value:
            return f"{name} holds a character that is none"
    return ""


def _is_gone(placement: Placement, seen: ObservedTerminal | None) -> bool:
    """Whether a node that knows the present snapshot has confirmed that a terminal that should not run does not.

    Under no epoch: one that still runs under an older epoch trades as well.
    """
    terminal = placement.terminal
    if should_run(Intent(terminal.intent), Hold(terminal.hold)) and not is_leaving(placement.assignment.state):
        return False
    return seen is None or seen.phase in GONE_PHASES
