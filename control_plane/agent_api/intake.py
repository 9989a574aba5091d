"""What nodes report, translated into the domain: observations of terminals and bots, and events."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from control_plane.accounts import repository as accounts_repository
from control_plane.accounts.model import Account
from control_plane.accounts.repository import AccountColumns
from control_plane.agent_api import repository
from control_plane.agent_api.repository import Held
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
from control_plane.terminals.service import Look, Sighting, finish_requests, observe, without_refusal
from control_plane.terminals.state import GONE_PHASES, Actor, Hold, Intent, should_run
from control_plane.trading.service import Statement, Told, TradeLog
from control_plane.vault.trials import LoginTrials, Trial
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


class ConcernsAllError(Exception):
    """A report says something that concerns more than its node, so nothing else may be taken together with it."""


class View:
    """A report beside what is known of the node. A node that knows all has the newest snapshot, so it acts on that."""

    def __init__(self, node: Node, sync: SyncRequest, held: list[Held], sighting: Sighting) -> None:
        self.node = node
        self.sync = sync
        self.held = held
        self.sighting = sighting
        self.knows_all = sync.known_generation == node.generation
        self._reported = {each.terminal_id: each for each in sync.terminals}

    def seen(self, held: Held) -> ObservedTerminal | None:
        return self._reported.get(held.terminal.id)

    def strays(self) -> int:
        """Terminals that run and should not be here."""
        mine = {each.terminal.id for each in self.held}
        return sum(each.terminal_id not in mine and each.phase not in GONE_PHASES for each in self.sync.terminals)

    def gone(self) -> list[Held]:
        return [each for each in self.held if self.knows_all and _is_gone(each, self.seen(each))]

    def to_change(self) -> list[str]:
        """Ids of the terminals of which more changes than what was observed, so that they are needed as objects."""
        return [each.terminal.id for each in self.held if self._changes(each, self.seen(each))]

    def _changes(self, held: Held, seen: ObservedTerminal | None) -> bool:
        if self.knows_all and (held.lease_policy != held.terminal.lease_policy or _is_gone(held, seen)):
            return True
        if seen is None:
            return False
        return _becomes_active(held) or _is_proof(held, seen) or bool(seen.finished_requests)


_Current = tuple[Held, ObservedTerminal, View]


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

    def take_observations(self, session: Session, reports: Sequence[tuple[Node, SyncRequest]]) -> None:
        """Of several nodes at once, since what a statement costs is the same for one as for many.

        Raises ConcernsAllError when one of several reports has to be taken alone.
        """
        known = repository.held(session, [node.id for node, _ in reports])
        views = [self._view(node, sync, known[node.id]) for node, sync in reports]
        if self._notice_newer_epochs(session, views):
            known = repository.held(session, [node.id for node, _ in reports])
            views = [self._view(node, sync, known[node.id]) for node, sync in reports]
        for view in views:
            view.node.strays = view.strays()
        places = assignments_repository.of_terminals(session, [each for view in views for each in view.to_change()])
        current = [look for view in views for look in _correct(view, places)]
        self._observe(session, current, places)
        self._release(session, [places[each.terminal.id] for view in views for each in view.gone()])
        for view in views:
            node = view.node
            if node.awaited and view.knows_all and node.strays == 0:
                node.awaited = False
                _log.info("awaited_node_settled", node=node.id)

    def _view(self, node: Node, sync: SyncRequest, held: list[Held]) -> View:
        return View(node, sync, held, Sighting(node.id, self._clock.now(), sync.report.clock, self._believed_for))

    def _notice_newer_epochs(self, session: Session, views: Sequence[View]) -> bool:
        """An epoch that was never handed out here was handed out by a newer copy of this database.

        Then two nodes may be told to run one account. Nothing more is started until all nodes have reported.
        """
        handed_out = {each.terminal.id: each.terminal.last_epoch for view in views for each in view.held}
        strays = {each.terminal_id for view in views for each in view.sync.terminals} - handed_out.keys()
        if strays:
            handed_out |= terminals_repository.last_epochs(session, strays)
        newer = {
            each.terminal_id: each.epoch
            for view in views
            for each in view.sync.terminals
            if handed_out.get(each.terminal_id, each.epoch) < each.epoch <= outdated.HIGHEST_EPOCH
        }
        if not newer:
            return False
        if len(views) > 1:
            raise ConcernsAllError
        node = views[0].node
        for terminal_id, epoch in newer.items():
            terminals_repository.raise_last_epoch(session, terminal_id, epoch)
        if not outdated.awaited(session):
            outdated.begin(session)
        session.flush()
        session.expire_all()
        _log.error("database_is_outdated", node=node.id, terminals=sorted(newer))
        reason = f"{len(newer)} of its terminals have epochs that were never handed out here"
        self._audit.record(session, node.tenant_id, Deed(THE_FARM, "hold_after_outdated_database", node.id, reason))
        return True

    def announce_return(self, session: Session, node: Node) -> None:
        """A silent node is heard again: what is shown of all its terminals changes, even if they did not."""
        for placement in assignments_repository.of_node(session, node.id):
            self._announce(session, placement.account)

    def take_events(self, session: Session, node: Node, events: list[Event]) -> EventAck:
        """Every event is either stored (again) or can never be; both may leave the node's spool."""
        known = assignments_repository.accounts_ever_on(session, node.id, {event.account_id for event in events})
        accepted: list[str] = []
        rejected: dict[str, str] = {}
        told: list[Told] = []
        for event in events:
            account = known.get((event.account_id, event.terminal_id, event.epoch))
            if account is None:
                rejected[event.event_id] = "this node never held this terminal under this epoch"
            elif accounts_repository.is_test(session, account):
                accepted.append(event.event_id)  # the books of an account that is only tried are nobody's to keep
            elif problem := _unstorable(event):
                rejected[event.event_id] = problem
            else:
                told.append((account, event))
        rejected |= self._take(session, told)
        accepted += [event.event_id for _, event in told if event.event_id not in rejected]
        if rejected:
            _log.warning("events_rejected", node=node.id, count=len(rejected))
        return EventAck(accepted=accepted, rejected=rejected)

    def _take(self, session: Session, told: Sequence[Told]) -> dict[str, str]:
        """Store what can be stored; by event id, why the others never can be. What is known is asked for once."""
        refused: dict[str, str] = {}
        page = self._trade_log.look_up(session, told)
        magics: dict[tuple[str, int], Account] = {}
        history: list[tuple[Account, HistoryOrderBody, int]] = []
        for account, event in told:
            match event.body:
                case DealBody() as body:
                    try:
                        if self._trade_log.record_deal(session, account, body, event.epoch, event.occurred_at, page):
                            magics[account.id, body.magic] = account
                    except ValueError as error:
                        refused[event.event_id] = str(error)
                case OrderBody() as body:
                    self._trade_log.record_order(session, account, event, body, page)
                case HistoryOrderBody() as body:
                    history.append((account, body, event.epoch))
                case PositionsBody() as body:
                    self._trade_log.record_positions(session, account, body, event.epoch, event.occurred_at)
                case BotLogBody() as body:
                    if not self._bots.record_log(session, account, event, body):
                        refused[event.event_id] = "the account has no such bot"
        self._trade_log.write_deals(session, page)
        self._trade_log.record_history_orders(session, history)
        for (_, magic), account in magics.items():
            self._bots.announce_by_magic(session, account, magic)
        return refused

    def _observe(self, session: Session, current: Sequence[_Current], places: Mapping[str, Placement]) -> None:
        for held, seen, view in current:
            if _becomes_active(held):
                enter(session, places[held.terminal.id], AssignmentState.ACTIVE, view.sighting.at, actor=Actor.NODE)
            if seen.finished_requests:
                terminal = places[held.terminal.id].terminal
                if finish_requests(session, terminal, seen.finished_requests, view.sighting.at):
                    self._fleet.desired_changed(session, view.node.id)
        terminals = observe(
            session, [Look(held.terminal, held.known, seen, view.sighting) for held, seen, view in current]
        )
        accounts = self._trade_log.record_snapshots(
            session,
            [
                Statement(held.account, held.figures, held.last_point, seen.account)
                for held, seen, _ in current
                if seen.account is not None and _is_of(seen.account, held.account)
            ],
        )
        self._bots.observe(session, {held.account.id: seen.bots for held, seen, _ in current})
        self._risk.observe(session, [(held.account, seen) for held, seen, _ in current])
        changed = [each for each in current if each[0].terminal.id in terminals or each[0].account.id in accounts]
        trials = (Trial(held.account, held.verdict, seen) for held, seen, view in changed if view.knows_all)
        self._trials.observe(session, trials)
        for held, _, _ in changed:
            self._announce(session, held.account)

    def _release(self, session: Session, gone: list[Placement]) -> None:
        if gone:
            session.flush()  # what the same report said of their bots
            self._bots.observe(session, {placement.account.id: () for placement in gone})
        for placement in gone:
            self._assignments.release(session, placement)

    def _announce(self, session: Session, account: Account | AccountColumns) -> None:
        change = Change(Topic.ACCOUNT, account.id, account.user_id, account.id)
        after_commit(session, lambda: self._bus.publish(change))


def _is_of(snapshot: AccountSnapshot, account: AccountColumns) -> bool:
    return (snapshot.login, snapshot.server) == (account.login, account.server)


def _correct(view: View, places: Mapping[str, Placement]) -> Iterator[_Current]:
    """Bring what is known of the places in line with a report; what it tells of their present epochs."""
    for held in view.held:
        seen, epoch = view.seen(held), held.epoch
        place = places.get(held.terminal.id)
        if place is not None:
            if view.knows_all:
                # Whichever snapshot the node acts on, it is this one or a later one.
                place.assignment.lease_policy = place.terminal.lease_policy
            if seen is not None and _is_proof(held, seen):
                _believe(place, seen)
            epoch = place.assignment.epoch
        if seen is not None and seen.epoch == epoch:
            yield held, seen if view.knows_all else without_refusal(seen), view


def _becomes_active(held: Held) -> bool:
    return may_become(AssignmentState(held.state), AssignmentState.ACTIVE)


def _is_proof(held: Held, seen: ObservedTerminal) -> bool:
    return held.unproven and seen.phase not in GONE_PHASES


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
    for name, value in (pair for part in parts for pair in vars(part).items()):
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"{name} is too large"
        if isinstance(value, float) and not math.isfinite(value):
            return f"{name} is not a number"
        if isinstance(value, str) and "\0" in value:
            return f"{name} holds a character that is none"
    return ""


def _is_gone(held: Held, seen: ObservedTerminal | None) -> bool:
    """Whether a node that knows the present snapshot has confirmed that a terminal that should not run does not.

    Under no epoch: one that still runs under an older epoch trades as well.
    """
    if should_run(Intent(held.terminal.intent), Hold(held.terminal.hold)) and not is_leaving(held.state):
        return False
    return seen is None or seen.phase in GONE_PHASES
