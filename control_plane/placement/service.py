"""Gives terminals that wait their places, many at a time, also where several control planes do so at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from control_plane.assignments.model import Assignment
from control_plane.assignments.state import AssignmentState
from control_plane.bus.port import Bus, Change, Topic
from control_plane.clock import Clock
from control_plane.db.engine import after_commit
from control_plane.fleet import outdated
from control_plane.fleet.service import Fleet
from control_plane.ids import new_id
from control_plane.placement.board import Board, Placed, Unplaced
from control_plane.placement.candidates import Demands, candidates, held_candidates
from control_plane.placement.decision import Demand
from control_plane.placement.neighbours import Neighbours
from control_plane.terminals import repository as terminals_repository
from control_plane.terminals.repository import Position, Waiting
from control_plane.terminals.state import Actor, TransitionKind
from control_plane.terminals.transitions import Transition, record
from control_plane.vault.trials import LoginTrials

AT_ONCE = 200
"""Terminals in one transaction. Other writers wait no longer than that takes."""
_NOTE_LENGTH = 300
_OUTDATED = "Waiting: the farm was restored from a backup, and not all of its nodes have reported since."
_STILL_ELSEWHERE = "Waiting: the same MT5 account still runs in another terminal."


@dataclass(frozen=True)
class Batch:
    """What became of some of those that wait."""

    last: Position | None
    """Where the next batch goes on; None when nobody was left."""
    placed: int = 0
    missed: int = 0
    """Whose node somebody else filled meanwhile. They wait on, and another try may help."""


@dataclass(frozen=True)
class _Choice:
    waiting: Waiting
    demand: Demand
    placed: Placed


class Placing:
    def __init__(self, fleet: Fleet, trials: LoginTrials, bus: Bus, clock: Clock) -> None:
        self._fleet = fleet
        self._trials = trials
        self._bus = bus
        self._clock = clock

    def place_batch(self, session: Session, after: Position | None, limit: int) -> Batch:
        """Give places to those that wait longest, from `after` on; who gets none is told why.

        Terminals that another transaction is placing are passed over. Nodes are held before their room is counted, so
        that none is ever given more than it has; a login is held before it is looked for, so that it never gets two.
        """
        claimed = terminals_repository.claim_waiting(session, after, limit)
        if not claimed.found:
            return Batch(claimed.last)
        if outdated.awaited(session):
            for each in claimed.found:
                self._note(session, each, _OUTDATED)
            return Batch(claimed.last)
        choices = self._choose(session, self._unobjected(session, claimed.found))
        placed = self._reserve(session, choices)
        return Batch(claimed.last, placed, len(choices) - placed)

    def _unobjected(self, session: Session, found: Sequence[Waiting]) -> list[Waiting]:
        """Those whose login may be used now: one for each login."""
        accounts = [each.account for each in found]
        logins = {(account.server, account.login) for account in accounts}
        terminals_repository.hold_logins(session, logins)
        elsewhere = terminals_repository.held_elsewhere(session, accounts)
        objections = self._trials.objections(session, accounts)
        left: list[Waiting] = []
        for each in found:
            account = each.account
            objection = _STILL_ELSEWHERE if account.id in elsewhere else objections.get(account.id, "")
            if not objection and (account.server, account.login) not in logins:
                objection = _STILL_ELSEWHERE
            if objection:
                self._note(session, each, objection)
            else:
                logins.discard((account.server, account.login))
                left.append(each)
        return left

    def _choose(self, session: Session, found: Sequence[Waiting]) -> list[_Choice]:
        """A node for each, by what is known of the nodes before they are held."""
        if not found:
            return []
        nodes = candidates(session)
        real = {each.server.company for each in found if each.server.simulated_address is None}
        neighbours = Neighbours(session, real, {node.node_id: node.address for node in nodes})
        demands, board = Demands(session, neighbours), Board(nodes)
        choices: list[_Choice] = []
        for each in found:
            demand = demands.of(each.terminal, each.account, each.server)
            answer = board.place(demand)
            if isinstance(answer, Unplaced):
                self._note(session, each, answer.explanation.sentence)
                continue
            board.take(answer)
            neighbours.add(demand.company, board.address_of(answer.node_id), each.account.user_id)
            choices.append(_Choice(each, demand, answer))
        return choices

    def _reserve(self, session: Session, choices: Sequence[_Choice]) -> int:
        """Carry out what is still possible now that nobody else changes these nodes. Returns how many."""
        if not choices:
            return 0
        board = Board(held_candidates(session, sorted({each.placed.node_id for each in choices})))
        taken: list[str] = []
        for each in choices:
            if board.still_fits(each.demand, each.placed.node_id):
                board.take(each.placed)
                self._assign(session, each)
                taken.append(each.placed.node_id)
        session.flush()
        self._fleet.desired_changed(session, *sorted(set(taken)))
        return len(taken)

    def _assign(self, session: Session, choice: _Choice) -> None:
        terminal, placed = choice.waiting.terminal, choice.placed
        terminal.last_epoch += 1
        terminal.avoid_node_id = terminal.preferred_node_id = None
        session.add(
            Assignment(
                id=new_id("asg"),
                tenant_id=terminal.tenant_id,
                terminal_id=terminal.id,
                node_id=placed.node_id,
                epoch=terminal.last_epoch,
                runtime=placed.runtime,
                state=AssignmentState.RESERVED,
                reserved_at=self._clock.now(),
                # No snapshot that names this epoch has been made yet, so all of them will say this.
                lease_policy=terminal.lease_policy,
                memory=placed.memory,
                explanation=placed.explanation.as_json(),
            )
        )
        sentence = placed.explanation.sentence[:_NOTE_LENGTH]
        taken = Transition(
            TransitionKind.PLACE, "", AssignmentState.RESERVED, Actor.FARM, note=sentence, node_id=placed.node_id
        )
        record(session, terminal, taken, self._clock.now())
        self._note(session, choice.waiting, sentence)

    def _note(self, session: Session, waiting: Waiting, text: str) -> None:
        account, text = waiting.account, text[:_NOTE_LENGTH]
        if waiting.terminal.placement_note != text:
            waiting.terminal.placement_note = text
            change = Change(Topic.ACCOUNT, account.id, account.user_id, account.id)
            after_commit(session, lambda: self._bus.publish(change))
